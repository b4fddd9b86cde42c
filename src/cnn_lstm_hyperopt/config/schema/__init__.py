"""All settings and all their defaults. A YAML file, flags and the Python API fill the same models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from cnn_lstm_hyperopt.config.schema.base import Directory, Section
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.limits import LimitSettings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings, RetrainSettings
from cnn_lstm_hyperopt.config.schema.search import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.config.schema.study import StudySettings
from cnn_lstm_hyperopt.config.schema.tracking import MlflowSettings
from cnn_lstm_hyperopt.config.schema.training import TrainingSettings
from cnn_lstm_hyperopt.config.search_space import SearchSpace, parse_space, plain


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
    save_dir: Directory = Field(Path("hyperopt_results"), description="where everything is written")
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
        # An unknown name stays, so that it is reported.
        return {key: value for key, value in raw.items() if value is not None or key not in cls.model_fields}

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
