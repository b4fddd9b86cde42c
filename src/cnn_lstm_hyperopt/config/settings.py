"""All settings and all their defaults. A YAML file, flags and the Python API fill the same models."""

import math
import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cnn_lstm_hyperopt.config.messages import JOINERS, is_legible, shown
from cnn_lstm_hyperopt.config.search_space import SearchSpace, parse_space, plain
from cnn_lstm_hyperopt.config.tracking_uri import tracking_uri

Target = Literal["direction", "volatility", "triple_barrier"]
MetricName = Literal["accuracy", "balanced_accuracy", "mcc", "auc", "log_loss"]
SamplerName = Literal["auto", "tpe", "cmaes", "random", "nsga2", "gp"]
PrunerName = Literal["auto", "median", "successive_halving", "front", "none"]
SourceName = Literal["synthetic", "embedded", "files", "yahoo", "loaders"]
BadBars = Literal["error", "drop", "keep"]
CvScheme = Literal["expanding", "rolling", "combinatorial"]

_DIRECTIONS = ("maximize", "minimize", "minimize")
_MOST_FOLDS = 50
"""A trial trains once for each."""
_LONGEST_PATH, _LONGEST_NAME = 4000, 255
_LEAST_SECONDS = 0.001
_MOST_SECONDS = _MOST_MB = 1e9
_MOST_TRIALS = 10_000_000


def _as_symbols(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def as_path(value: Any, kind: str = "directory") -> Any:
    """A path as somebody may have meant it, with ``~`` written out; other kinds of values are left to pydantic.

    Raises:
        ValueError: it can be none; the text is the rule and the value, to stand behind the setting's name.
    """
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = str(value)
    if not text or text.isspace():
        raise ValueError(f"must name a file or a directory, but got {shown(text)}")
    _require_legible(text)
    if len(text) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in re.split(r"[/\\]", text)):
        raise ValueError(
            f"must be a path of at most {_LONGEST_PATH} characters and {_LONGEST_NAME} between two slashes, but got {shown(text)}"
        )
    if re.match(r"\$\w+(/|$)|\$\{\w+\}|%\w+%", text):
        raise ValueError(f"must be written out, for variables are not replaced here (~ is), but got {shown(text)}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # but C:/results is a path
        raise ValueError(f"must be a local {kind}, but got {shown(text)}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"must begin with the directory of a user whom there is, but got {shown(text)}") from None


def _require_legible(path: str) -> None:
    if not is_legible(path):
        raise ValueError(f"must be a path without control characters, but got {shown(path)}")


def _absolute(path: Path | None) -> Path | None:
    """The same file wherever the run goes on."""
    if path is None:
        return None
    try:
        whole = path.absolute()
    except OSError as error:
        raise ValueError(
            f"must begin with / where the working directory is gone ({error.strerror}), but got {shown(str(path))}"
        ) from error
    _require_legible(str(whole))
    return whole


class Section(BaseModel):
    """Base of all settings: unknown keys are errors, values don't change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError(f"must not be {str(value).lower()}")
        return value


def _legible_name(value: str) -> str:
    if not is_legible(value):
        raise ValueError(f"must be text without control characters, but got {shown(value)}")
    if value != value.strip():
        raise ValueError(f"must not begin or end with a space, but got {shown(value)}")
    return value


class StudySettings(Section):
    """The study: its name, budget and seed."""

    name: str = Field(
        "cnn_lstm_optimization", min_length=1, max_length=200, description="name of the study in study.db"
    )
    n_trials: int = Field(
        1000, ge=1, le=_MOST_TRIALS, description="finished trials (completed or pruned) that the study is to have"
    )
    timeout: float | None = Field(
        None,
        ge=_LEAST_SECONDS,
        le=_MOST_SECONDS,
        description="seconds after which the search ends (retraining comes on top); null: no limit",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="decides, with a trial's number and configuration, all of its randomness; measured seconds differ each time",
    )
    metric: MetricName = Field(
        "accuracy",
        description="what is maximised on validation; log_loss counts with its sign turned, so that more is better",
    )
    time_objective: Literal["measured", "estimated"] = Field(
        "measured",
        description="training time as the clock says, or as the cost model does: then one seed and one worker give one study",
    )
    portfolio: bool = Field(
        True,
        description="begin with a few configurations known from the literature, as far as the search space has them",
    )
    enqueue: Path | None = Field(
        None,
        description="begin with these configurations: a YAML or JSON file with a list of them, a results.json, or the directory"
        " of an earlier study, whose front is taken",
    )
    directions: tuple[str, ...] = Field(_DIRECTIONS, description="of the metric, seconds and MB; can't be changed")

    @field_validator("name")
    @classmethod
    def _no_path(cls, value: str) -> str:
        if "/" in value or "\\" in value or value in (".", ".."):
            raise ValueError(f"must be a name and no path (no / and no \\), but got {shown(value)}")
        if JOINERS & set(value):
            raise ValueError(f"must be text without control characters, but got {shown(value)}")
        return _legible_name(value)

    @field_validator("enqueue", mode="before")
    @classmethod
    def _legible_path(cls, value: Any) -> Any:
        return as_path(value, "file or directory")

    @field_validator("enqueue")
    @classmethod
    def _wherever_we_are(cls, value: Path | None) -> Path | None:
        return _absolute(value)

    @field_validator("directions")
    @classmethod
    def _only_these(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value != _DIRECTIONS:
            raise ValueError(f"must be {list(_DIRECTIONS)} (the metric, seconds, MB)")
        return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_Multiple = Annotated[float, Field(gt=0, le=1_000)]


class DataSettings(Section):
    """Bars, the question asked of them, and how they are split."""

    source: SourceName = Field(
        "synthetic",
        description="synthetic (a market whose best accuracy is known), embedded (real bars in the package), files (data_dir) or"
        " yahoo (fetched, kept in a cache)",
    )
    synthetic_seed: int = Field(0, ge=0, lt=2**32, description="another seed is another synthetic market")
    data_dir: Path | None = Field(None, description="folder of SYMBOL.csv or SYMBOL.parquet; implies source: files")
    symbols: Annotated[tuple[str, ...], BeforeValidator(_as_symbols)] = Field(
        (), description="which symbols; empty: all that the source has"
    )
    start: date | None = Field(None, description="first date used; null: the first there is")
    end: date | None = Field(None, description="last date used; null: the last there is")
    on_bad_bars: BadBars = Field(
        "error",
        description="bars that can't be true (a high below the low, say): error, drop them, or keep them where that is possible",
    )
    feature_columns: Annotated[tuple[str, ...], BeforeValidator(_as_symbols)] = Field(
        (), description="columns of the files that are inputs beside the eleven features, such as sentiment"
    )
    features: str | None = Field(
        None,
        description="module:function that makes more features of a frame of bars; checked for looking ahead",
    )
    features_seconds: float = Field(
        600.0,
        gt=0,
        le=_MOST_SECONDS,
        description="seconds that the check of the function may take; it runs in a process of its own, which is ended then",
    )
    target: Target = Field(
        "direction",
        description="direction of the next return, volatility of the next range, or triple_barrier: which of two prices, or the"
        " horizon, is reached first",
    )
    direction_classes: Literal[2, 3] = Field(
        2, description="direction: up or not; or up, down and what moves less than the dead zone"
    )
    dead_zone_atr: float = Field(
        0.25,
        gt=0,
        le=1_000,
        description="direction with 3 classes: half width of the dead zone, in average true ranges",
    )
    barriers_atr: tuple[_Multiple, _Multiple] = Field(
        (2.0, 2.0), description="triple_barrier: the upper and the lower one, in average true ranges from the close"
    )
    lookback: int = Field(60, ge=2, le=10_000, description="bars in a window")
    horizon: int = Field(1, ge=1, le=1_000, description="bars ahead that the label looks")
    split: tuple[float, float, float] = Field(
        (0.70, 0.15, 0.15),
        description="shares of the windows for training, validation and test, in order of time",
    )
    purge: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="bars left out before each cut, at least; null: as far as each label looks in training, and as far as the"
        " longest can (the horizon) in validation",
    )
    embargo: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="bars after a validation block that no fold trains on; matters in combinatorial folds",
    )
    cv_folds: Annotated[int, Field(ge=1, le=20)] | Literal["auto"] = Field(
        "auto",
        description="a trial's score is the mean over so many walk-forward folds (of DataLoaders without dates: stratified by"
        " class); 1: validation as split says; combinatorial: number of blocks, which make C(cv_folds, cv_test_blocks) folds;"
        " auto: 5 for DataLoaders with fewer than 500 validation windows, else 1",
    )
    cv_scheme: CvScheme = Field(
        "expanding",
        description="folds train on all before their validation block, on a rolling stretch, or (combinatorial) cv_folds blocks"
        " are held out in all combinations of cv_test_blocks",
    )
    cv_test_blocks: int = Field(2, ge=1, le=10, description="combinatorial: blocks that each fold holds out")
    max_gap_days: float = Field(10.0, gt=0, le=36_500, description="a longer hole in the bars starts a new segment")
    train_share: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        "auto",
        description="share of the training windows that trials use, evenly spread (finalists use all); auto: the largest of 1,"
        " 1/2, 1/4 and 1/8 at which half of the search space keeps limits.trial_seconds",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_folder_means_files(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("data_dir") is not None and raw.get("source") is None:
            return {**raw, "source": "files"}
        return raw

    @field_validator("symbols")
    @classmethod
    def _unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            twice = next(name for name in value if value.count(name) > 1)
            raise ValueError(f"names a symbol twice: {shown(twice)}; leave one of them out")
        for name in value:
            _legible_name(name)
            if not 0 < len(name) <= 100 or "\\" in name or name.startswith("/") or {".", ".."} & set(name.split("/")):
                raise ValueError(f"must be names such as AAPL and no paths, but got {shown(name)}")
        return value

    @field_validator("feature_columns")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _legible_name(name)
            if not 0 < len(name) <= 200:
                raise ValueError(f"must be names of columns, but got {shown(name)}")
        return value

    @field_validator("start", "end", mode="before")
    @classmethod
    def _no_number(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{8}", value):
            value = f"{value[:4]}-{value[4:6]}-{value[6:]}"
        if isinstance(value, (int, float)) or (isinstance(value, str) and _is_number(value)):
            # pydantic would count seconds from 1970
            raise ValueError(f"must be a date such as 2001-02-03, but got {shown(value)}")
        return value

    @field_validator("start", "end")
    @classmethod
    def _of_this_era(cls, value: date | None) -> date | None:
        if value is not None and not 1700 <= value.year <= 2200:
            raise ValueError(f"must lie between the years 1700 and 2200, but got {value}")
        return value

    @field_validator("features")
    @classmethod
    def _names_a_function(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value) is None:
            raise ValueError(f"must be module:function, such as mine:more, but got {shown(value)}")
        return value

    @field_validator("data_dir", mode="before")
    @classmethod
    def _legible_path(cls, value: Any) -> Any:
        return as_path(value)

    @field_validator("data_dir")
    @classmethod
    def _wherever_we_are(cls, value: Path | None) -> Path | None:
        return _absolute(value)

    @field_validator("split")
    @classmethod
    def _sums_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 1e-6:
            raise ValueError(
                f"must be three positive shares that add up to 1, such as [0.7, 0.15, 0.15], not {list(value)}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"start must be before end, but got start={self.start}, end={self.end}")
        if self.purge is not None and self.purge < self.horizon:
            raise ValueError(
                f"purge must be at least the horizon, or training labels reach into validation and test;"
                f" got purge={self.purge}, horizon={self.horizon}"
            )
        self._check_folds()
        if self.source == "files" and self.data_dir is None:
            raise ValueError("source: files needs data_dir, the folder with SYMBOL.csv or SYMBOL.parquet")
        if self.source != "files" and self.data_dir is not None:
            raise ValueError(
                f"data_dir is read with source: files only; leave out one of source: {self.source} and data_dir"
            )
        return self

    def _check_folds(self) -> None:
        if self.source == "loaders":
            own = {"feature_columns": self.feature_columns, "features": self.features}
            if any(own.values()):
                raise ValueError(
                    f"{', '.join(name for name, given in own.items() if given)}: data_loaders come with their features; leave it"
                    " out, or give bars instead of data_loaders"
                )
        if self.cv_scheme != "combinatorial":
            return
        if self.cv_test_blocks >= self.bar_folds:
            raise ValueError(
                "cv_test_blocks must be less than cv_folds, or nothing is left to train on;"
                f" got cv_test_blocks={self.cv_test_blocks}, cv_folds={self.cv_folds}"
            )
        folds = math.comb(self.bar_folds, self.cv_test_blocks)
        if folds > _MOST_FOLDS:
            raise ValueError(
                f"cv_folds={self.cv_folds} with cv_test_blocks={self.cv_test_blocks} make {folds} folds, and a trial trains once"
                f" for each: {_MOST_FOLDS} at most; take fewer cv_folds, or cv_test_blocks: 1"
            )

    @property
    def bar_folds(self) -> int:
        """``cv_folds`` of bars, whose validation is as large as ``split`` says: ``auto`` is 1."""
        return 1 if self.cv_folds == "auto" else self.cv_folds

    @property
    def purge_bars(self) -> int:
        """Bars that must follow a decision before the next cut for it to be judged: as far as the longest label can look, or
        ``purge``. Training windows of the triple barrier need as many as their own label looks only, unless ``purge`` says more.
        """
        return self.horizon if self.purge is None else self.purge


class TrainingSettings(Section):
    """How each trial is trained; what is searched stands in ``search_space.training``."""

    max_epochs: int = Field(20, ge=1, le=10_000, description="epochs of a trial at most")
    min_patience: int = Field(
        4, ge=1, le=100_000, description="epochs without progress after which training stops, at least"
    )
    patience_factor: float = Field(
        0.5,
        ge=0,
        le=100,
        description="patience grows to this share of the best epoch so far: late progress earns more time",
    )
    long_epoch_seconds: float = Field(
        10.0,
        gt=0,
        le=_MOST_SECONDS,
        description="a first epoch predicted to take longer is also evaluated at a quarter, a half and three quarters",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of matrix products; auto: bfloat16 where the device computes it in hardware and a trial's shape gains by it",
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:1")

    @field_validator("device")
    @classmethod
    def _a_device(cls, value: str) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value) is None:
            raise ValueError(f"must be auto, cpu, cuda or one card such as cuda:1, but got {shown(value)}")
        return value


class PrunerSettings(Section):
    """When a trial is ended early."""

    type: PrunerName = Field(
        "auto",
        description="median (below the median and beaten), successive_halving (rungs; the best share goes on), front (unlikely to"
        " reach the front) or none; auto: front",
    )
    n_startup_trials: int = Field(
        20,
        ge=0,
        le=_MOST_TRIALS,
        description="median: completed trials before any is pruned; front: completed trials that have learnt something",
    )
    n_warmup_steps: int = Field(10, ge=0, le=100_000, description="median: epochs of a trial before it may be pruned")
    interval_steps: int = Field(1, ge=1, le=100_000, description="median: epochs between two decisions")
    min_resource: float = Field(
        1.0,
        gt=0,
        le=100_000,
        description="successive_halving: epochs at the lowest rung; 0.25, 0.5 and 0.75 are parts of a long first epoch",
    )
    reduction_factor: int = Field(
        4,
        ge=2,
        le=1_000,
        description="successive_halving: one in so many goes on at a rung, and the next rung is so many times as high",
    )
    min_early_stopping_rate: int = Field(
        0, ge=0, le=20, description="successive_halving: leaves out so many of the lowest rungs"
    )


class SamplerSettings(Section):
    """Where the next configuration comes from."""

    type: SamplerName = Field(
        "auto",
        description="tpe, cmaes, nsga2, random, or gp (Gaussian processes of all objectives: the fewest trials for a front);"
        " auto: gp",
    )
    n_startup_trials: Annotated[int, Field(ge=0, le=_MOST_TRIALS)] | Literal["auto"] = Field(
        "auto",
        description="trials before the sampler models anything, random ones but for gp; auto: 50 for tpe and nsga2, 24 for cmaes,"
        " 12 for gp (24 with probes), a third of all trials at most",
    )
    multivariate: bool = Field(False, description="tpe: model parameters jointly (Optuna's multivariate, grouped)")
    probes: bool | Literal["auto"] = Field(
        "auto",
        description="gp: three in four of the first trials end after one epoch, and a third of these, of all sizes, are then"
        " continued; else they are configurations that are predicted to be cheap; auto: only where nothing is predicted",
    )


class LimitSettings(Section):
    """What a trial, the retraining and a worker may cost."""

    trial_seconds: float | Literal["auto"] | None = Field(
        "auto",
        description="configurations predicted to train longer are not tried, trials that turn out to need a quarter more end"
        " early; auto: 300 on a CPU, none on a GPU; null: none",
    )
    size_mb: float | None = Field(None, gt=0, le=_MOST_MB, description="larger models are not tried; null: no limit")
    memory_mb: Annotated[float, Field(gt=0, le=_MOST_MB)] | Literal["auto"] | None = Field(
        "auto",
        description="configurations predicted to need more are not tried, trials that do need more save memory or fail; auto: a"
        " worker's part of 80 % of the memory of the machine (on a GPU: of the device); null: no limit",
    )
    retrain_seconds: float | None = Field(
        None,
        gt=0,
        le=_MOST_SECONDS,
        description="for what follows the search: confirmation gets half of it at most, and each retraining an equal part of what"
        " is left; null: no limit",
    )
    worker_growth_mb: float = Field(
        500.0,
        gt=0,
        le=_MOST_MB,
        description="a worker that holds so much more memory than after its first trial is replaced by a new one",
    )
    worker_silence_seconds: float = Field(
        45.0,
        ge=5,
        le=_MOST_SECONDS,
        description="a worker without a sign of life for so long (not one batch in a training) is replaced, its trial run again",
    )

    @field_validator("trial_seconds")
    @classmethod
    def _positive(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, (int, float)) and not 0 < value <= _MOST_SECONDS:
            raise ValueError(f"must be above 0 and at most {_MOST_SECONDS:g}, auto or null, but got {value}")
        return value

    def seconds_on(self, device_type: str) -> float | None:
        """The limit in seconds on a device of this type; None: no limit."""
        if self.trial_seconds == "auto":
            return 300.0 if device_type == "cpu" else None
        return self.trial_seconds


class RetrainSettings(Section):
    """What happens to the best trials after the search."""

    enabled: bool = Field(False, description="retrain the best trials and test them once")
    top_k: int = Field(5, ge=1, le=1_000, description="how many of the confirmed candidates are retrained")
    full_epochs: int = Field(
        200, ge=1, le=100_000, description="epochs of a retraining at most (patience ends it earlier)"
    )
    confirm_seeds: int = Field(
        3,
        ge=1,
        le=100,
        description="the best 3 x top_k of the front are trained again with so many fresh seeds, and ranked by their mean score",
    )
    seeds: int = Field(
        3, ge=1, le=100, description="each of the top_k is retrained so many times; the one best on validation is kept"
    )


class EvaluationSettings(Section):
    """What the verdict assumes."""

    cost_bps: float = Field(
        5.0,
        ge=0,
        le=1_000,
        description="cost of a change of position in the long/flat strategy, in basis points (direction)",
    )


class MlflowSettings(Section):
    """Where the study is mirrored to while it runs."""

    enabled: bool = Field(
        True, description="mirror the study to MLflow: a run for it, one for each trial and for each retrained model"
    )
    tracking_uri: str | None = Field(
        None,
        description="of an MLflow server (http://HOST:5000) or database (sqlite:///…, postgresql://…); null: the variable"
        " MLFLOW_TRACKING_URI, else mlflow.db in save_dir",
    )
    experiment: str = Field(
        "CNN_LSTM_Hyperopt_Task_5_5",
        min_length=1,
        max_length=200,
        description="MLflow's experiment that the runs belong to",
    )
    register_as: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="name under which the best retrained model is registered with MLflow; null: it is not",
    )
    wait_seconds: float = Field(
        30.0,
        ge=0,
        le=86_400,
        description="that the end of a run waits for what MLflow lacks; what is then missing can be written later (track)",
    )

    @field_validator("tracking_uri")
    @classmethod
    def _of_a_store(cls, value: str | None) -> str | None:
        return None if value is None else tracking_uri(value)

    @field_validator("experiment", "register_as")
    @classmethod
    def _legible(cls, value: str | None) -> str | None:
        if value is not None and ({"/", ":"} & set(value) or JOINERS & set(value)):
            raise ValueError(f"must be a name without / and :, but got {shown(value)}")
        return None if value is None else _legible_name(value)


class Settings(Section):
    """Everything that defines a run."""

    study: StudySettings = Field(default_factory=StudySettings)
    data: DataSettings = Field(default_factory=DataSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    pruner: PrunerSettings = Field(default_factory=PrunerSettings)
    sampler: SamplerSettings = Field(default_factory=SamplerSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    mlflow: MlflowSettings = Field(default_factory=MlflowSettings)
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="worker processes, one thread each; auto: one per core as memory allows, one on a GPU"
    )
    save_dir: Path = Field(Path("hyperopt_results"), description="where everything is written")
    report: bool = Field(
        True, description="write report.html and figures/ at the end; the command report does it at any time"
    )
    search_space: dict[str, Any] = Field(default_factory=dict, description="what differs from the whole space")

    _space: SearchSpace = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections_are_defaults(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        # A name that there is not stays, so that it is reported.
        return {key: value for key, value in raw.items() if value is not None or key not in cls.model_fields}

    @field_validator("save_dir", mode="before")
    @classmethod
    def _legible_path(cls, value: Any) -> Any:
        return as_path(value)

    @field_validator("search_space", mode="before")
    @classmethod
    def _of_plain_values(cls, value: Any) -> Any:
        return plain(value) if isinstance(value, Mapping) else value

    @field_validator("search_space")
    @classmethod
    def _legal_space(cls, value: dict[str, Any]) -> dict[str, Any]:
        _, faults = parse_space(value)
        if faults:
            raise ValueError("\n".join(faults))
        return value

    @model_validator(mode="after")
    def _keep_space(self) -> "Settings":
        self._space, _ = parse_space(self.search_space)
        return self

    @property
    def space(self) -> SearchSpace:
        """The resolved search space."""
        return self._space
