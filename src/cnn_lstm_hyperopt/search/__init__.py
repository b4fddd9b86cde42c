"""The search: samplers, pruners, the study and its storage.

Only this package uses Optuna. The package imports neither torch nor the package ``data``.
"""

from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
from cnn_lstm_hyperopt.search.databases import Database, PostgresServer, database_in, database_of
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import InitialTrial
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.memory_levels import MemoryLevel, levels_of, memory_levels
from cnn_lstm_hyperopt.search.pareto_front import (
    CONFIRMED_PER_MODEL,
    Milestone,
    Picks,
    above_chance,
    confirmation_candidates,
    count_confirmations,
    finish_order,
    front_hypervolume,
    hypervolume_history,
    named_picks,
    ranked_front,
    remaining_candidates,
    reported_front,
)
from cnn_lstm_hyperopt.search.proposer import Proposer
from cnn_lstm_hyperopt.search.samplers import Proposal, ProposalRequest, random_configuration
from cnn_lstm_hyperopt.search.simulate import EpochMeasurement, WorkerLostError, optimise
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold, no_skill, undefined_in
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study import Study
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.study_space import (
    FEATURE_GROUPS,
    OWN_GROUPS,
    read_description,
    space_of_data,
    stored_groups,
    study_space,
)
from cnn_lstm_hyperopt.search.trial import (
    DIED,
    KILLED,
    LACKED_MEMORY,
    Point,
    State,
    TrialRecord,
    Values,
    selected,
)

__all__ = [
    "CONFIRMED_PER_MODEL",
    "DIED",
    "FEATURE_GROUPS",
    "KILLED",
    "LACKED_MEMORY",
    "OWN_GROUPS",
    "Assignment",
    "Cost",
    "Database",
    "EpochMeasurement",
    "InitialTrial",
    "Limits",
    "MemoryLevel",
    "Milestone",
    "NoTrial",
    "Picks",
    "Point",
    "PostgresServer",
    "Proposal",
    "ProposalRequest",
    "Proposer",
    "SkillThreshold",
    "State",
    "Study",
    "StudyPlan",
    "StudyStorage",
    "TrialRecord",
    "Values",
    "WorkerLostError",
    "above_chance",
    "confirmation_candidates",
    "count_confirmations",
    "database_in",
    "database_of",
    "finish_order",
    "front_hypervolume",
    "hypervolume_history",
    "levels_of",
    "memory_levels",
    "named_picks",
    "no_skill",
    "optimise",
    "random_configuration",
    "ranked_front",
    "read_description",
    "remaining_candidates",
    "reported_front",
    "selected",
    "space_of_data",
    "stored_groups",
    "study_space",
    "undefined_in",
    "with_fixed",
]
