"""The search: samplers, pruners, the study and its storage.

Only this package uses Optuna. The package imports neither torch nor the package ``data``. Most modules are imported when one of
their names is first used, because Optuna and SQLAlchemy take half a second to import and ``status`` does not need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# These modules have the names of functions, and Python would return the modules: so the functions are imported at once.
from cnn_lstm_hyperopt.search.memory_levels import MemoryLevel, levels_of, memory_levels
from cnn_lstm_hyperopt.search.study_space import (
    FEATURE_GROUPS,
    OWN_GROUPS,
    read_description,
    space_of_data,
    stored_groups,
    study_space,
)

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
    from cnn_lstm_hyperopt.search.databases.base import Database
    from cnn_lstm_hyperopt.search.databases.location import database_in, database_of
    from cnn_lstm_hyperopt.search.databases.server import PostgresServer
    from cnn_lstm_hyperopt.search.distributions import with_fixed
    from cnn_lstm_hyperopt.search.initial_trials.kinds import InitialTrial
    from cnn_lstm_hyperopt.search.limits import Cost, Limits
    from cnn_lstm_hyperopt.search.pareto_front import (
        CONFIRMED_PER_MODEL,
        Milestone,
        Picks,
        above_chance,
        chosen_trials,
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
    from cnn_lstm_hyperopt.search.study_reader import StudyContent, read_study
    from cnn_lstm_hyperopt.search.trial import DIED, KILLED, LACKED_MEMORY, Point, State, TrialRecord, Values, selected

_HOME = {
    "CONFIRMED_PER_MODEL": "pareto_front",
    "DIED": "trial",
    "KILLED": "trial",
    "LACKED_MEMORY": "trial",
    "Assignment": "assignment",
    "Cost": "limits",
    "Database": "databases.base",
    "EpochMeasurement": "simulate",
    "InitialTrial": "initial_trials.kinds",
    "Limits": "limits",
    "Milestone": "pareto_front",
    "NoTrial": "assignment",
    "Picks": "pareto_front",
    "Point": "trial",
    "PostgresServer": "databases.server",
    "Proposal": "samplers",
    "ProposalRequest": "samplers",
    "Proposer": "proposer",
    "SkillThreshold": "skill_threshold",
    "State": "trial",
    "Study": "study",
    "StudyContent": "study_reader",
    "StudyPlan": "study_plan",
    "StudyStorage": "storage",
    "TrialRecord": "trial",
    "Values": "trial",
    "WorkerLostError": "simulate",
    "above_chance": "pareto_front",
    "chosen_trials": "pareto_front",
    "confirmation_candidates": "pareto_front",
    "count_confirmations": "pareto_front",
    "database_in": "databases.location",
    "database_of": "databases.location",
    "finish_order": "pareto_front",
    "front_hypervolume": "pareto_front",
    "hypervolume_history": "pareto_front",
    "named_picks": "pareto_front",
    "no_skill": "skill_threshold",
    "optimise": "simulate",
    "random_configuration": "samplers",
    "ranked_front": "pareto_front",
    "read_study": "study_reader",
    "remaining_candidates": "pareto_front",
    "reported_front": "pareto_front",
    "selected": "trial",
    "undefined_in": "skill_threshold",
    "with_fixed": "distributions",
}

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
    "StudyContent",
    "StudyPlan",
    "StudyStorage",
    "TrialRecord",
    "Values",
    "WorkerLostError",
    "above_chance",
    "chosen_trials",
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
    "read_study",
    "remaining_candidates",
    "reported_front",
    "selected",
    "space_of_data",
    "stored_groups",
    "study_space",
    "undefined_in",
    "with_fixed",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
