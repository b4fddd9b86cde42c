"""Flags of the command line: their names, the settings that they set, and the functions that read their values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.values import number, path_of, seconds, whole, workers_of
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.config.schema import EngineName
from cnn_lstm_hyperopt.config.schema.data import SOURCES, BadBars, Target
from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.config.schema.search import PrunerName, SamplerName
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.config.schema.tracking import TrackerName
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE
from cnn_lstm_hyperopt.space.search_space import Architecture
from cnn_lstm_hyperopt.utils.nested import put

_SETTING_OF_FLAG = {
    "n_trials": "study.n_trials",
    "timeout": "study.timeout",
    "study_name": "study.name",
    "storage": "study.storage",
    "artifacts": "study.artifacts",
    "seed": "study.seed",
    "portfolio": "study.portfolio",
    "enqueue": "study.enqueue",
    "library": "study.library",
    "metric": "study.metric",
    "source": "data.source",
    "data_dir": "data.data_dir",
    "symbols": "data.symbols",
    "start": "data.start",
    "end": "data.end",
    "on_bad_bars": "data.on_bad_bars",
    "exchange": "data.exchange",
    "feature_columns": "data.feature_columns",
    "features": "data.features",
    "select_features": "features.select",
    "target": "data.target",
    "lookback": "data.lookback",
    "horizon": "data.horizon",
    "cv_folds": "data.cv_folds",
    "max_epochs": "training.max_epochs",
    "device": "training.device",
    "sampler": "sampler.type",
    "pruner": "pruner.type",
    "top_k": "retrain.top_k",
    "also": "retrain.also",
    "full_epochs": "retrain.full_epochs",
    "ensemble": "retrain.ensemble",
    "refit": "retrain.refit",
    "test_periods": "evaluation.test_periods",
    "baseline": "evaluation.baselines",
    "workers": "workers",
    "engine": "engine",
    "ray_address": "ray_address",
    "gpus_per_trial": "gpus_per_trial",
    "save_dir": "save_dir",
    "report": "report",
    "mlflow": "mlflow.enabled",
    "tracking_uri": "mlflow.tracking_uri",
    "register": "mlflow.register_as",
    "trackers": "tracking.trackers",
}
_FLAG_OF_SETTING = {
    **{setting: f"--{flag.replace('_', '-')}" for flag, setting in _SETTING_OF_FLAG.items()},
    "search_space.training.batch_size": "--batch-size",
    "search_space.architecture": "--architecture",
    "search_space.family": "--family",
    "retrain.enabled": "--retrain-best",
}
"""Name of the flag of each setting, for error messages."""


def _help(flag: str) -> str:
    """Return the help text of a flag: description and default of its setting. Null and empty values read "default"."""
    model: Any = Settings
    *sections, name = _SETTING_OF_FLAG[flag].split(".")
    for section in sections:
        model = model.model_fields[section].annotation
    field = model.model_fields[name]
    text = re.sub(r"\b(null|empty):", "default:", str(field.description))
    shown = field.default not in (None, ())
    text = text if text.startswith("module:") else f"{text[0].upper()}{text[1:]}"
    return f"{text}." + (f" [default: {field.default}]" if shown else "")


if TYPE_CHECKING:
    SourceFlag = str
else:
    SourceFlag = Literal[tuple(SOURCES)]
_SEARCH, _DATA, _RETRAIN, _RUN = "Search", "Data", "After the search", "General"

_DEMO_HELP = "Run the demonstration: five symbols of the real daily bars in the package, 30 trials, a few minutes."
_DRY_RUN_HELP = (
    "Print the forecast (hours, memory, disk, share of the search space within the limits) and start nothing."
)
_QUIET_HELP = "Print only errors. run.log has the full output."
_VERBOSE_HELP = "Print all details that are otherwise only in run.log: windows, changed parameters, limits, speeds."


def _setting(flag: str, group: str, **parsing: Any) -> Parameter:
    """Return the cyclopts parameter of a flag that sets a setting. The help text is the description of the setting."""
    return Parameter(group=group, help=_help(flag), **parsing)


def _switch(text: str, group: str | None = None) -> Parameter:
    """Return the cyclopts parameter of a flag that takes no value and is off by default."""
    plain = Parameter(negative="", help=text)
    return plain if group is None else Parameter.combine(plain, Parameter(group=group))


def _two_sources(first: str, second: str) -> ConfigError:
    text = f"{first} and {second} name two sources; leave one out"
    return ConfigError(text, field=first.partition(" ")[0], code="two-sources")


_FAMILY_HELP = "Family of networks: cnn_lstm, tcn (temporal convolutions) or your own, module:name. [default: cnn_lstm]"
_WORKERS_HELP = (
    "Number of worker processes, each with one thread; auto: one process per CPU core if memory allows, one on each"
    " GPU, or as many as --gpus-per-trial allows."
)


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Flags of the commands ``data`` and ``run``. If a flag is None, the config file or else the default sets the value."""

    use_real_data: Annotated[
        bool, _switch("Use the real daily bars included in the package, unless --source names another source.", _DATA)
    ] = False
    source: Annotated[SourceFlag | None, _setting("source", _DATA)] = None
    data_dir: Annotated[Path | None, _setting("data_dir", _DATA, converter=path_of)] = None
    symbols: Annotated[tuple[str, ...] | None, _setting("symbols", _DATA, consume_multiple=True, negative="")] = None
    start: Annotated[date | None, _setting("start", _DATA)] = None
    end: Annotated[date | None, _setting("end", _DATA)] = None
    on_bad_bars: Annotated[BadBars | None, _setting("on_bad_bars", _DATA)] = None
    exchange: Annotated[str | None, _setting("exchange", _DATA)] = None
    feature_columns: Annotated[
        tuple[str, ...] | None, _setting("feature_columns", _DATA, consume_multiple=True, negative="")
    ] = None
    features: Annotated[str | None, _setting("features", _DATA)] = None
    target: Annotated[Target | None, _setting("target", _DATA)] = None
    lookback: Annotated[int | None, _setting("lookback", _DATA, converter=whole)] = None
    horizon: Annotated[int | None, _setting("horizon", _DATA, converter=whole)] = None
    cv_folds: Annotated[int | None, _setting("cv_folds", _DATA, converter=whole)] = None
    config: Annotated[
        Path | None,
        Parameter(
            converter=path_of,
            group=_RUN,
            help="YAML file with settings and search space, or the name of a profile in the package: small (a small search"
            " space for a CPU), laptop (the full space with short trials), gpu (a larger space). Flags override it.",
        ),
    ] = None
    debug: Annotated[bool, _switch("Show the traceback of an error and log every epoch.", _RUN)] = False

    def overrides(self) -> dict[str, Any]:
        """Return the flags that the user has set, as nested settings."""
        tree: dict[str, Any] = {}
        for flag in fields(self):
            if flag.name in _SETTING_OF_FLAG and (value := getattr(self, flag.name)) is not None:
                put(tree, _SETTING_OF_FLAG[flag.name], list(value) if isinstance(value, tuple) else value)
        require_symbols(self.symbols)
        if self.feature_columns == ():
            text = "--feature-columns needs at least one name, such as --feature-columns sentiment"
            raise ConfigError(text, field="--feature-columns", code="empty-list")
        self._put_source(tree)
        return tree

    def _put_source(self, tree: dict[str, Any]) -> None:
        """Set the source of the bars in the nested settings ``tree``. Refuse flags that name two sources."""
        if self.use_real_data and self.source == "synthetic":
            raise _two_sources("--use-real-data", "--source synthetic")
        if self.data_dir is not None:
            if self.use_real_data and self.source != "files":
                raise _two_sources("--use-real-data", "--data-dir")
            if self.source not in (None, "files"):
                raise _two_sources(f"--source {self.source}", "--data-dir")
            put(tree, "data.source", "files")
            return
        source = self.source or ("embedded" if self.use_real_data else None)
        if source is not None:
            put(tree, "data.source", source)
            if source != "files":
                put(tree, "data.data_dir", None)


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions(DataOptions):
    """Flags of the command ``run``."""

    n_trials: Annotated[int | None, _setting("n_trials", _SEARCH, converter=whole)] = None
    timeout: Annotated[float | None, _setting("timeout", _SEARCH, converter=seconds)] = None
    sampler: Annotated[SamplerName | None, _setting("sampler", _SEARCH)] = None
    pruner: Annotated[PrunerName | None, _setting("pruner", _SEARCH)] = None
    metric: Annotated[MetricName | None, _setting("metric", _SEARCH)] = None
    max_epochs: Annotated[int | None, _setting("max_epochs", _SEARCH, converter=whole)] = None
    batch_size: Annotated[
        int | None,
        Parameter(converter=whole, group=_SEARCH, help="Fixed training batch size, which is then not searched."),
    ] = None
    architecture: Annotated[
        Architecture | None,
        Parameter(
            group=_SEARCH,
            help="Default search space of the networks. classic: the table of the specification; full: also stacked convolutions,"
            " batch norm, GRU, CNN and LSTM in series, and small networks. [default: classic; full for DataLoaders in Python]",
        ),
    ] = None
    family: Annotated[str | None, Parameter(group=_SEARCH, help=_FAMILY_HELP)] = None
    seed: Annotated[int | None, _setting("seed", _SEARCH, converter=whole)] = None
    enqueue: Annotated[Path | None, _setting("enqueue", _SEARCH, converter=path_of)] = None
    library: Annotated[Path | None, _setting("library", _SEARCH, converter=path_of)] = None
    select_features: Annotated[bool | None, _setting("select_features", _SEARCH, negative="")] = None
    portfolio: Annotated[bool | None, _setting("portfolio", _SEARCH, negative="--no-portfolio")] = None
    retrain_best: Annotated[
        bool,
        _switch("Retrain the best trials on all training windows and evaluate them once on the test set.", _RETRAIN),
    ] = False
    top_k: Annotated[int | None, _setting("top_k", _RETRAIN, converter=whole)] = None
    also: Annotated[tuple[str, ...] | None, _setting("also", _RETRAIN, consume_multiple=True, negative="")] = None
    full_epochs: Annotated[int | None, _setting("full_epochs", _RETRAIN, converter=whole)] = None
    test_periods: Annotated[int | None, _setting("test_periods", _RETRAIN, converter=whole)] = None
    baseline: Annotated[tuple[str, ...] | None, _setting("baseline", _RETRAIN, negative="")] = None
    ensemble: Annotated[EnsembleMethod | None, _setting("ensemble", _RETRAIN)] = None
    refit: Annotated[bool | None, _setting("refit", _RETRAIN, negative="--no-refit")] = None
    save_dir: Annotated[Path | None, _setting("save_dir", _RUN, converter=path_of)] = None
    study_name: Annotated[str | None, _setting("study_name", _RUN)] = None
    storage: Annotated[str | None, _setting("storage", _RUN)] = None
    artifacts: Annotated[str | None, _setting("artifacts", _RUN)] = None
    device: Annotated[str | None, _setting("device", _RUN)] = None
    workers: Annotated[
        int | Literal["auto"] | None,
        Parameter(converter=workers_of, group=_RUN, help=f"{_WORKERS_HELP} [default: auto]"),
    ] = None
    engine: Annotated[EngineName | None, _setting("engine", _RUN)] = None
    ray_address: Annotated[str | None, _setting("ray_address", _RUN)] = None
    gpus_per_trial: Annotated[float | None, _setting("gpus_per_trial", _RUN, converter=number)] = None
    report: Annotated[bool | None, _setting("report", _RUN, negative="--no-report")] = None
    mlflow: Annotated[bool | None, _setting("mlflow", _RUN, negative="--no-mlflow")] = None
    tracking_uri: Annotated[str | None, _setting("tracking_uri", _RUN)] = None
    register: Annotated[str | None, _setting("register", _RUN)] = None
    trackers: Annotated[
        tuple[TrackerName, ...] | None, _setting("trackers", _RUN, consume_multiple=True, negative="")
    ] = None
    demo: Annotated[bool, _switch(_DEMO_HELP, _DATA)] = False
    resume: Annotated[bool, _switch("Continue the study in --save-dir up to a total of --n-trials.", _RUN)] = False
    dry_run: Annotated[bool, _switch(_DRY_RUN_HELP, _RUN)] = False
    recalibrate: Annotated[
        bool, _switch("Measure the speed of this machine again (20 seconds), for this study and later ones.", _RUN)
    ] = False
    quiet: Annotated[bool, _switch(_QUIET_HELP, _RUN)] = False
    verbose: Annotated[bool, _switch(_VERBOSE_HELP, _RUN)] = False

    def overrides(self) -> dict[str, Any]:
        """Return the flags that the user has set, as nested settings."""
        tree = super().overrides()
        of_space = {"architecture": self.architecture, "family": self.family, "training.batch_size": self.batch_size}
        for name, value in of_space.items():
            if value is not None:
                put(tree, f"search_space.{name}", value)
        if self.retrain_best:
            put(tree, "retrain.enabled", True)
        return tree


Workers = Annotated[
    int | Literal["auto"] | None,
    Parameter(converter=workers_of, help=f"{_WORKERS_HELP} [default: as before]"),
]
Engine = Annotated[EngineName | None, Parameter(help="Engine that runs the workers. [default: as before]")]
RayAddress = Annotated[str | None, Parameter(help="Running Ray cluster: HOST:PORT or auto. [default: as before]")]
Storage = Annotated[
    str | None,
    Parameter(help="URL of the study's database, with its password. [default: as in config.yaml, and PGPASSWORD]"),
]
Artifacts = Annotated[str | None, Parameter(help="URL of the study's artifacts. [default: as before]")]
SaveDir = Annotated[Path, Parameter(converter=path_of, help="Directory of the study.")]
TrackingUri = Annotated[
    str | None,
    Parameter(help="URI of an MLflow server or database. [default: as before, MLFLOW_TRACKING_URI, or mlflow.db]"),
]
Debug = Annotated[bool, _switch("Show the traceback of an error.")]
Verbose = Annotated[bool, _switch(_VERBOSE_HELP)]
Quiet = Annotated[bool, _switch(_QUIET_HELP)]


def settings_of(
    config: Path | None, overrides: dict[str, Any], environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings from flags, environment and config file. The text of an error names the flag, variable or file."""
    try:
        Path.cwd()
    except OSError as error:  # otherwise libraries that are imported later would end the process
        text = f"the working directory is gone ({error.strerror}); go to another with cd"
        raise ConfigError(text, code="no-working-directory") from error
    return load_settings(config, overrides, environment, flags=_FLAG_OF_SETTING)


def directory(save_dir: Path, storage: str | None = None) -> Path:
    """Return the path in the flag ``--save-dir`` after the checks of the setting ``save_dir``.

    The password in the flag ``--storage`` is kept for this process.

    Raises:
        ConfigError: a flag is wrong, or ``--storage`` names another database than the study's.
    """
    given = settings_of(None, {"save_dir": save_dir, "study": {"storage": storage}}, environment={})
    if storage is not None:
        from cnn_lstm_hyperopt.search import database_in

        stored = database_in(given.save_dir).url
        if stored != given.study.storage:
            text = (
                f"--storage {given.study.storage} is not the database of the study in {save_dir}, which is"
                f" {stored or 'study.db'}; leave it out, or move the study with: resume --storage URL"
            )
            raise ConfigError(text, field="--storage", code="other-storage")
    return given.save_dir


def config_of(save_dir: Path, otherwise: str) -> Path:
    """Return the path of a study's ``config.yaml``.

    Raises:
        ConfigError: the file is missing. The text of the error ends with ``otherwise``, which states the consequence.
    """
    path = save_dir / CONFIG_FILE
    if not path.is_file():
        text = f"--save-dir {save_dir} has no config.yaml, so there is {otherwise}"
        raise ConfigError(text, field="--save-dir", code="no-config-file")
    return path


def require_symbols(symbols: Sequence[str] | None) -> None:
    """Raise an error if the flag ``--symbols`` has no names."""
    if symbols == ():
        text = "--symbols needs at least one name, such as --symbols AAPL MSFT; leave it out for all"
        raise ConfigError(text, field="--symbols", code="empty-list")
