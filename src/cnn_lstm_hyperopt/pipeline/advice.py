"""Advice after a search without good trials, written for the interface in use (command line or Python)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.evaluation.baselines.base import is_own
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.search import StudyPlan, TrialRecord
from cnn_lstm_hyperopt.search.constraints import no_feasible_text
from cnn_lstm_hyperopt.search.pareto_front import feasible_trials
from cnn_lstm_hyperopt.search.pruning_stats import LIMIT
from cnn_lstm_hyperopt.utils.text import counted, install_command


class Interface(StrEnum):
    """Interface of the package that the user calls: command line or Python."""

    COMMAND_LINE = "command line"
    PYTHON = "Python"
    LOADERS = "Python with DataLoaders"


def preference_text(verdict: Mapping[str, Any]) -> str | None:
    """Return a sentence that recommends a simple baseline instead of the model of the verdict.

    Return None if the verdict in ``results.json`` recommends no baseline.
    """
    baseline = verdict.get("preferred_baseline")
    if baseline is None:
        return None
    rank = verdict.get("model_rank") or 1
    if is_own(baseline):
        return f"prefer {baseline}, your own baseline. Model {rank} is {verdict['grade']}."
    return (
        f"prefer {baseline}, a simple baseline. It is cheaper, and model {rank} is {verdict['grade']}."
        " docs/how-to/use-a-baseline.md shows how to forecast with a baseline."
    )


def skipped_baselines(names: Sequence[str]) -> list[dict[str, str]]:
    """Return an entry of ``results.json`` for each baseline whose package is not installed, with the extra that installs it."""
    return [{"name": name, "extra": BASELINES[name].extra} for name in names]


def skipped_baselines_text(skipped: Sequence[Mapping[str, str]]) -> str | None:
    """Return a sentence that names the skipped baselines and the command that installs their packages.

    Args:
        skipped: entry ``skipped_baselines`` of ``results.json``. The text is None if this list is empty.
    """
    if not skipped:
        return None
    names, extras = (", ".join(each["name"] for each in skipped), ",".join(each["extra"] for each in skipped))
    packages = "its package is" if len(skipped) == 1 else "their packages are"
    return (
        f"Not compared: {names}, because {packages} not installed. To compare, run {install_command(extras)}, then resume"
        " this study."
    )


def empty_front_text(settings: Settings, plan: StudyPlan, records: Sequence[TrialRecord], interface: Interface) -> str:
    """Return a text that explains why no trial is complete and feasible, and which settings to change."""
    finished = [record for record in records if record.finished]
    if not finished:
        return "no trial finished in time, so there is no front yet; allow more time, or resume"
    if (infeasible := no_feasible_text(records)) is not None:
        return f"{infeasible}, so there is no front; raise this bound, or try a search space of other models or more trials"
    seen = f"none of {counted(len(finished), 'finished trial')} is complete, so there is no front"
    return f"{seen}; try {_fixes(settings, plan, records, interface)}"


def below_chance_text(settings: Settings, plan: StudyPlan, records: Sequence[TrialRecord], interface: Interface) -> str:
    """Return a text that says that no complete trial beats chance.

    The text also states how far the best trial is from chance, and which settings to change.
    """
    skill = plan.skill
    best = max(record.values.score for record in feasible_trials(records) if record.values is not None)
    kept = "" if all(record.feasible for record in records) else " that keeps the constraints"
    return (
        f"no trial{kept} is clearly better than {skill.to_beat} on validation, so the front holds the best of them (above_chance:"
        f" false): {METRICS[skill.metric].article} {skill.words} above {skill.threshold:.4f} is needed, the best has {best:.4f};"
        " try"
        f" {_fixes(settings, plan, records, interface)}"
    )


def _fixes(settings: Settings, plan: StudyPlan, records: Sequence[TrialRecord], interface: Interface) -> str:
    stopped = sum(record.ended_by == LIMIT for record in records)
    if 2 * stopped > len(records):
        limit = f"a higher limits.trial_seconds, which ended {stopped} of {len(records)} trials"
        if interface is Interface.COMMAND_LINE:
            return f"{limit}, or --recalibrate if this machine is slower than when it was measured"
        return limit
    fixes = [f"training.max_epochs above {plan.max_epochs}", "more trials"]
    if interface is Interface.LOADERS:
        return ", ".join([*fixes, "or more or other windows in the loaders"])
    if settings.data.target == "direction":
        volatility = (
            "--target volatility"
            if interface is Interface.COMMAND_LINE
            else 'config={"data": {"target": "volatility"}}'
        )
        fixes.insert(0, f"another target ({volatility})")
    return ", ".join([*fixes, "or more bars"])
