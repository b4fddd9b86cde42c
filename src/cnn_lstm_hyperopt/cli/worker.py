"""The command ``worker``."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import Debug, SaveDir, Storage, config_of, directory, settings_of
from cnn_lstm_hyperopt.cli.values import path_of
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.nested import put
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES


@app.command
def worker(
    *,
    save_dir: SaveDir = Path("hyperopt_results"),
    storage: Storage = None,
    study_name: Annotated[
        str | None, Parameter(help="Name of the study, to check that the directory is the right one.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        Parameter(converter=path_of, help="Folder of the same bars on this machine. [default: as in config.yaml]"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run trials of a study on a PostgreSQL server, beside its run and other workers, until the study has all trials.

    The machine must see the directory of the study and the same data, which are compared by their hash. After Ctrl-C or
    SIGTERM, another worker continues the running trial. Start the study with: run --storage URL.

    Example: worker --save-dir /shared/results --storage postgresql+psycopg://me@db/hyperopt
    """
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")  # before torch is imported; one single-threaded process per core is fastest
    save_dir = directory(save_dir, storage)
    path = config_of(save_dir, "no study to join")
    overrides: dict[str, object] = {"save_dir": save_dir}
    if data_dir is not None:
        put(overrides, "data.data_dir", data_dir)
    settings = settings_of(path, overrides)
    if study_name is not None and study_name != settings.study.name:
        text = f"--study-name {study_name}: the study in {save_dir} is named {settings.study.name}; name its directory"
        raise ConfigError(text, field="--study-name", code="other-study-name")
    from cnn_lstm_hyperopt.pipeline.joining import join_study

    join_study(settings, lambda line: print(line, flush=True))
