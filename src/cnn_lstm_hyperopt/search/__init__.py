"""The search: samplers, pruners, the study and its storage. The only part that knows Optuna; it knows no torch and no data."""

from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.gate import SkillGate
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study import (
    INTERRUPTED,
    Assignment,
    Study,
    StudyPlan,
    front_hypervolume,
    ranked_front,
)
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, Values

__all__ = [
    "INTERRUPTED",
    "Assignment",
    "Point",
    "SkillGate",
    "State",
    "Study",
    "StudyPlan",
    "StudyStorage",
    "TrialRecord",
    "Values",
    "front_hypervolume",
    "ranked_front",
    "with_fixed",
]
