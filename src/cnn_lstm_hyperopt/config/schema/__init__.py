"""Pydantic models of all settings with their defaults. YAML files, flags and the Python API use the same models."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

from cnn_lstm_hyperopt.config.schema.base import Directory, Section, SettingError
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.limits import LimitSettings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings, RetrainSettings
from cnn_lstm_hyperopt.config.schema.search import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.config.schema.study import StudySettings
from cnn_lstm_hyperopt.config.schema.tracking import MlflowSettings
from cnn_lstm_hyperopt.config.schema.training import TrainingSettings
from cnn_lstm_hyperopt.config.search_space import PARAMETERS, parse_space
from cnn_lstm_hyperopt.space.parsing import plain
from cnn_lstm_hyperopt.space.search_space import SearchSpace
from cnn_lstm_hyperopt.space.values import SpaceError


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


class Settings(Section):
    """All settings of a run."""

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
        "auto",
        description="number of worker processes, each with one thread; auto: one process per CPU core if memory allows, "
        "one on a GPU",
    )
    save_dir: Directory = Field(Path("hyperopt_results"), description="directory for all output")
    report: bool = Field(
        True, description="write report.html and figures/ at the end. The command report writes them at any time"
    )
    search_space: _ReadSpace = Field(
        default_factory=lambda: SearchSpace.of(PARAMETERS), description="changes to the default search space"
    )

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
    def _periods_need_bars(self) -> "Settings":
        if self.evaluation.test_periods > 1 and self.data.source == "loaders":
            raise SettingError(
                f"evaluation.test_periods={self.evaluation.test_periods} needs bars: the training windows of a DataLoader can't"
                " move forward into its test windows, which the user has split and scaled; set evaluation.test_periods: 1",
                "periods-need-bars",
                "evaluation.test_periods",
            )
        return self
