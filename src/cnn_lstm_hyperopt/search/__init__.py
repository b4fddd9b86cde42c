"""The search: samplers, pruners, the study and its storage. The only part that knows Optuna; it knows no torch and no data."""

from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.gate import SkillGate
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.samplers import RandomSampler
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study import (
    INTERRUPTED,
    Assignment,
    NoTrial,
    Proposer,
    Study,
    StudyPlan,
    front_hypervolume,
    ranked_front,
)
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, Values, selected

__all__ = [
    "INTERRUPTED",
    "Assignment",
    "Cost",
    "Limits",
    "NoTrial",
    "Point",
    "Proposer",
    "RandomSampler",
    "SkillGate",
    "State",
    "Study",
    "StudyPlan",
    "StudyStorage",
    "TrialRecord",
    "Values",
    "front_hypervolume",
    "ranked_front",
    "selected",
    "with_fixed",
]
