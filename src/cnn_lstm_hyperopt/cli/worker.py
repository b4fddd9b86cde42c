"""The command ``worker``."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import Debug, Storage, config_of, directory, settings_of
from cnn_lstm_hyperopt.cli.values import path_of
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.nested import put
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES

_DEFAULT = Path("hyperopt_results")


@app.command
def worker(
    *,
    save_dir: Annotated[
        Path | None,
        Parameter(
            converter=path_of,
            help=f"Directory of the study, on a file system that machines share. [default: {_DEFAULT}]",
        ),
    ] = None,
    storage: Storage = None,
    study_name: Annotated[
        str | None,
        Parameter(help="Name of the study, with --save-dir only to check that the directory is the right one."),
    ] = None,
    artifacts: Annotated[
        str | None,
        Parameter(help="URL of the study's artifacts (run --artifacts URL), instead of --save-dir; needs --storage."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        Parameter(converter=path_of, help="Folder of the same bars on this machine. [default: as in config.yaml]"),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run trials of a study on a PostgreSQL server, beside its run and other workers, until the study has all trials.

    The machine must see the directory of the study and the same data, which are compared by their hash. With --artifacts, it
    gets settings and data from a URL and needs no common file system. After Ctrl-C or SIGTERM, another worker continues the
    running trial. Start the study with: run --storage URL.

    Examples: worker --save-dir /shared/results --storage postgresql+psycopg://me@db/hyperopt;
    worker --storage postgresql+psycopg://me@db/hyperopt --study-name mine --artifacts s3://bucket/studies.
    """
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")  # before torch is imported; one single-threaded process per core is fastest
    if artifacts is None:
        _join_directory(save_dir or _DEFAULT, storage, study_name, data_dir)
        return
    for flag, given in (("--save-dir", save_dir), ("--data-dir", data_dir)):
        if given is not None:
            text = f"{flag} and --artifacts name two sources of settings and data; leave one out"
            raise ConfigError(text, field=flag, code="two-sources")
    named = {} if study_name is None else {"name": study_name}
    study = settings_of(None, {"study": {**named, "storage": storage, "artifacts": artifacts}}, environment={}).study
    from cnn_lstm_hyperopt.pipeline.joining import join_from_artifacts
    from cnn_lstm_hyperopt.search import PostgresServer

    # the settings have both URLs, since artifacts need storage
    join_from_artifacts(PostgresServer(str(study.storage), study.name), str(study.artifacts), _say)


def _join_directory(save_dir: Path, storage: str | None, study_name: str | None, data_dir: Path | None) -> None:
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

    join_study(settings, _say)


def _say(line: str) -> None:
    print(line, flush=True)
