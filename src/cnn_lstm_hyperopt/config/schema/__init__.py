"""Pydantic models of all settings with their defaults. YAML files, flags and the Python API use the same models."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

from cnn_lstm_hyperopt.config.schema.base import Directory, Section, SettingError
from cnn_lstm_hyperopt.config.schema.constraints import ConstraintSettings
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.features import FeatureSettings
from cnn_lstm_hyperopt.config.schema.limits import LimitSettings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings, RetrainSettings
from cnn_lstm_hyperopt.config.schema.search import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.config.schema.study import StudySettings
from cnn_lstm_hyperopt.config.schema.tracking import MlflowSettings, TrackingSettings
from cnn_lstm_hyperopt.config.schema.training import TrainingSettings
from cnn_lstm_hyperopt.config.search_space import PARAMETERS, parse_space
from cnn_lstm_hyperopt.models.inputs import with_searched_groups
from cnn_lstm_hyperopt.space.parsing import plain
from cnn_lstm_hyperopt.space.search_space import SearchSpace
from cnn_lstm_hyperopt.space.values import SpaceError
from cnn_lstm_hyperopt.utils.registry import declared, described
from cnn_lstm_hyperopt.utils.text import shown

ENGINES = declared("execution/engines")
"""Properties of each engine, by name."""
if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[tuple(ENGINES)]


def _read_space(raw: dict[str, Any]) -> SearchSpace:
    space, errors = parse_space(raw)
    if errors:
        raise SpaceError(
            "\n".join(map(str, errors)), violations=[each for error in errors for each in error.violations]
        )
    return space


_ReadSpace = Annotated[
    SearchSpace,
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_after_validator_function(
            _read_space,
            core_schema.no_info_before_validator_function(plain, handler(dict[str, Any])),
            serialization=core_schema.plain_serializer_function_ser_schema(SearchSpace.as_dict),
        )
    ),
]
"""Type of a search space in the settings. The YAML form of a search space is converted to the domains of all parameters."""


def _address(value: str) -> str:
    if not re.fullmatch(r"auto|[^\s/@:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", value):
        raise SettingError(
            f"must be auto or HOST:PORT, such as 10.0.0.5:6379, but got {shown(value)}; start the run on a machine of the"
            " cluster, since addresses of clients (ray://) are not supported",
            "not-an-address",
        )
    return value


RayAddress = Annotated[str, AfterValidator(_address)] | None


class Settings(Section):
    """All settings of a run."""

    study: StudySettings = Field(default_factory=StudySettings)
    data: DataSettings = Field(default_factory=DataSettings)
    features: FeatureSettings = Field(default_factory=FeatureSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    pruner: PrunerSettings = Field(default_factory=PrunerSettings)
    sampler: SamplerSettings = Field(default_factory=SamplerSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    constraints: ConstraintSettings = Field(default_factory=ConstraintSettings)
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    mlflow: MlflowSettings = Field(default_factory=MlflowSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)
    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="number of worker processes, each with one thread; auto: one process per CPU core if memory allows, "
        "one on each GPU, or as many as gpus_per_trial allows",
    )
    engine: EngineName = Field("local", description=f"what runs the workers: {described(ENGINES)}")
    ray_address: RayAddress = Field(
        None,
        description="address of a running Ray cluster, as HOST:PORT or auto (the cluster of this machine), with engine ray; "
        "null: Ray is started on this machine and ends with the run",
    )
    gpus_per_trial: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of a GPU for each worker, such as 0.25 for four workers on each GPU; null: workers share the GPUs "
        "equally (with engine ray: one worker on each GPU)",
    )
    save_dir: Directory = Field(Path("hyperopt_results"), description="directory for all output")
    report: bool = Field(
        True, description="write report.html and figures/ at the end. The command report writes them at any time"
    )
    search_space: _ReadSpace = Field(
        default_factory=lambda: SearchSpace.of(PARAMETERS), description="changes to the default search space"
    )

    @property
    def whole_space(self) -> SearchSpace:
        """Search space with the flags of all groups of built-in features, if inputs are selected."""
        return with_searched_groups(self.search_space) if self.features.select else self.search_space

    @property
    def verdict_metric(self) -> str:
        """Name of the metric that decides the grade."""
        chosen = self.evaluation.verdict_metric
        return self.study.metric if chosen == "study" else chosen

    @model_validator(mode="before")
    @classmethod
    def _empty_sections_are_defaults(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        # An unknown name is kept and later reported as an error.
        return {key: value for key, value in raw.items() if value is not None or key not in cls.model_fields}

    @model_validator(mode="after")
    def _engine_fits(self) -> "Settings":
        if self.ray_address is not None and self.engine != "ray":
            raise SettingError(
                f"ray_address={self.ray_address} needs engine: ray, but engine is {self.engine}; add --engine ray or omit it",
                "address-without-ray",
                "ray_address",
            )
        if self.engine == "ray" and self.study.storage is not None:
            raise SettingError(
                "engine=ray stores the study in study.db, so it can't be combined with study.storage; omit --storage, or use"
                " --engine local",
                "ray-with-server",
                "engine",
            )
        if self.ray_address is not None and self.workers == "auto":
            raise SettingError(
                "workers=auto counts the cores of this machine, not those of a cluster (ray_address); give the number, such as"
                " --workers 16",
                "workers-of-cluster",
                "workers",
            )
        if self.gpus_per_trial is not None and self.training.device == "cpu":
            raise SettingError(
                f"gpus_per_trial={self.gpus_per_trial:g} needs a GPU, but training.device is cpu; omit one of them",
                "gpus-on-cpu",
                "gpus_per_trial",
            )
        return self

    @model_validator(mode="after")
    def _artifacts_need_a_server(self) -> "Settings":
        if self.study.artifacts is not None and self.study.storage is None:
            raise SettingError(
                f"study.artifacts={self.study.artifacts} needs study.storage, the server on which other machines find the study;"
                " add --storage, or omit it",
                "artifacts-without-server",
                "study.artifacts",
            )
        return self

    @model_validator(mode="after")
    def _trackers_agree(self) -> "Settings":
        if "mlflow" in self.tracking.trackers and not self.mlflow.enabled:
            raise SettingError(
                "tracking.trackers names mlflow, but mlflow.enabled is false; omit one of them",
                "trackers-contradict",
                "tracking.trackers",
            )
        return self

    @model_validator(mode="after")
    def _periods_need_bars(self) -> "Settings":
        if self.evaluation.test_periods > 1 and self.data.source == "loaders":
            raise SettingError(
                f"evaluation.test_periods={self.evaluation.test_periods} needs bars: the training windows of a DataLoader can't"
                " move forward into its test windows, which the user has split and scaled; set evaluation.test_periods: 1",
                "periods-need-bars",
                "evaluation.test_periods",
            )
        return self
