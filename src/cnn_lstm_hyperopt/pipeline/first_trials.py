"""First trials of a new study: enqueued ones, ones from a study library, and the portfolio of default configurations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.characteristics import characteristics
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.search import InitialTrial, StudyPlan
from cnn_lstm_hyperopt.search.initial_trials.enqueueing import read_enqueued
from cnn_lstm_hyperopt.search.initial_trials.library import identity, require_folder
from cnn_lstm_hyperopt.search.initial_trials.portfolio import portfolio_in
from cnn_lstm_hyperopt.search.initial_trials.transfer import read_library
from cnn_lstm_hyperopt.utils.text import counted


class FirstTrials(NamedTuple):
    """First trials of a study.

    Attributes:
        starts: full configurations in the order in which they are tried.
        text: one line about their sources; empty if there are none.
        warnings: sentences about configurations and files that were skipped.
    """

    starts: tuple[InitialTrial, ...] = ()
    text: str = ""
    warnings: tuple[str, ...] = ()

    def then(self, later: "FirstTrials") -> "FirstTrials":
        """Return these trials and later ones."""
        text = ", ".join(part for part in (self.text, later.text) if part)
        return FirstTrials((*self.starts, *later.starts), text, (*self.warnings, *later.warnings))

    def new_among(self, starts: Sequence[InitialTrial]) -> tuple[InitialTrial, ...]:
        """Return the trials whose configurations are not among these trials."""
        taken = [start.params for start in self.starts]
        return tuple(start for start in starts if start.params not in taken)


def first_trials(
    settings: Settings, plan: StudyPlan, made_with: Mapping[str, Any], target: str, data: TrialData
) -> FirstTrials:
    """Return the first trials of a new study: the enqueued ones, then those of the library or else the portfolio.

    Args:
        settings: settings of the run.
        plan: plan of the study.
        made_with: fingerprint of the study.
        target: what the networks predict.
        data: data of the trials.

    Raises:
        ConfigError: the enqueued trials are invalid, or the folder of the library can't be used.
    """
    study, first, from_library = settings.study, FirstTrials(), False
    if study.enqueue is not None:
        enqueued = read_enqueued(study.enqueue, plan)
        first = FirstTrials(enqueued.starts, f"{len(enqueued.starts)} enqueued from {study.enqueue}", enqueued.warnings)
    if study.library is not None:
        library, from_library = _from_library(study.library, plan, made_with, target, data, first)
        first = first.then(library)
    if study.portfolio and not from_library:
        first = first.then(_from_portfolio(plan, first))
    return first._replace(text=f"First trials: {first.text}" if first.text else "")


def _from_library(
    folder: Path, plan: StudyPlan, made_with: Mapping[str, Any], target: str, data: TrialData, earlier: FirstTrials
) -> tuple[FirstTrials, bool]:
    """Return the trials of the library that are not among earlier ones, and whether the library has any trial for this study."""
    require_folder(folder)
    found = read_library(
        folder, plan, made_from=identity(made_with), target=target, characteristics=characteristics(data)
    )
    new = earlier.new_among(found.starts)
    studies = counted(len(found.studies), "study", "studies")
    text = (
        f"{len(new)} from {studies} of the library ({', '.join(found.studies)})"
        if found.starts
        else f"none from the library {folder}, which has no other study with these parameters yet"
    )
    return FirstTrials(new, text, found.warnings), bool(found.starts)


def _from_portfolio(plan: StudyPlan, earlier: FirstTrials) -> FirstTrials:
    portfolio = portfolio_in(plan)
    new = earlier.new_among(portfolio.starts)
    left_out = {
        **{start.origin: "enqueued already" for start in portfolio.starts if start not in new},
        **{name: f"here the same as {other}" for name, other in portfolio.same.items()},
        **dict.fromkeys(portfolio.beyond_limits, "beyond the limits"),
    }
    names = f" ({', '.join(start.origin for start in new)})" if new else ""
    without = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    return FirstTrials(new, f"{len(new)} of the portfolio{names}" + (f" without {without}" if without else ""))
