"""What a user can change when a search has found nothing, in the words of the interface that they use."""

from collections.abc import Sequence
from enum import StrEnum

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.search import StudyPlan, TrialRecord
from cnn_lstm_hyperopt.search.pruning_stats import LIMIT
from cnn_lstm_hyperopt.utils.text import counted


class Interface(StrEnum):
    """How the package is used."""

    COMMAND_LINE = "command line"
    PYTHON = "Python"
    LOADERS = "Python with DataLoaders"


def empty_front_text(settings: Settings, plan: StudyPlan, records: Sequence[TrialRecord], interface: Interface) -> str:
    """Why no trial is complete, and what can be changed."""
    finished = [record for record in records if record.finished]
    if not finished:
        return "no trial was finished in the time there was, so there is no front yet; give it more, or resume"
    seen = f"none of {counted(len(finished), 'finished trial')} is complete, so there is no front"
    return f"{seen}; try {_cures(settings, plan, records, interface)}"


def below_chance_text(settings: Settings, plan: StudyPlan, records: Sequence[TrialRecord], interface: Interface) -> str:
    """That no complete trial beats chance, by how much the best misses it, and what can be changed."""
    skill = plan.skill
    best = max(record.values.score for record in records if record.values is not None)
    return (
        f"no trial beats {skill.to_beat} on validation, so the front holds the best trials all the same (above_chance: false):"
        f" {METRICS[skill.metric].article} {skill.words} above {skill.threshold:.4f} is needed, the best has {best:.4f}; try"
        f" {_cures(settings, plan, records, interface)}"
    )


def _cures(settings: Settings, plan: StudyPlan, records: Sequence[TrialRecord], interface: Interface) -> str:
    stopped = sum(record.ended_by == LIMIT for record in records)
    if 2 * stopped > len(records):
        limit = f"a higher limits.trial_seconds, which ended {stopped} of {len(records)} trials"
        if interface is Interface.COMMAND_LINE:
            return f"{limit}, or --recalibrate if this machine is slower than it was when measured"
        return limit
    cures = [f"training.max_epochs above {plan.max_epochs}", "more trials"]
    if interface is Interface.LOADERS:
        return ", ".join([*cures, "or more or other windows in the loaders"])
    if settings.data.target == "direction":
        volatility = (
            "--target volatility"
            if interface is Interface.COMMAND_LINE
            else 'config={"data": {"target": "volatility"}}'
        )
        cures.insert(0, f"another target ({volatility} is learnable)")
    return ", ".join([*cures, "or more bars"])


def _more_trials(settings: Settings, n_trials: int, interface: Interface) -> str:
    if interface is Interface.COMMAND_LINE:
        return f"{resume_command(settings.save_dir)} --n-trials {n_trials}"
    return f"optimize(n_trials={n_trials})"
