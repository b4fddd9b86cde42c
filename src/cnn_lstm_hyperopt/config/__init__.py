"""Settings and the search space, as pydantic models that define all defaults."""

from cnn_lstm_hyperopt.config.loader import dump_settings, load_settings, plain_settings
from cnn_lstm_hyperopt.config.schema import Settings
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.limits import LimitSettings
from cnn_lstm_hyperopt.config.schema.retrain import RetrainSettings
from cnn_lstm_hyperopt.config.schema.search import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.config.schema.study import StudySettings
from cnn_lstm_hyperopt.config.schema.training import TrainingSettings
from cnn_lstm_hyperopt.config.search_space import PARAMETERS, parse_space, readable, stored
from cnn_lstm_hyperopt.space.domains import Choices, Domain, Fixed, FloatRange, IntRange, Scalar
from cnn_lstm_hyperopt.space.parameters import Params
from cnn_lstm_hyperopt.space.search_space import SearchSpace

__all__ = [
    "PARAMETERS",
    "Choices",
    "DataSettings",
    "Domain",
    "Fixed",
    "FloatRange",
    "IntRange",
    "LimitSettings",
    "Params",
    "PrunerSettings",
    "RetrainSettings",
    "SamplerSettings",
    "Scalar",
    "SearchSpace",
    "Settings",
    "StudySettings",
    "TrainingSettings",
    "dump_settings",
    "load_settings",
    "parse_space",
    "plain_settings",
    "readable",
    "stored",
]
