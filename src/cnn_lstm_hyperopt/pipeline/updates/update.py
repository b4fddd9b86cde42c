"""Update of a model: measure the present version on new bars, train a candidate, compare both, and let the better one serve."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.data.pooled import scaled_windows
from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.update_split import MIN_VALIDATION_DATES, UpdateSplit, newest, update_split
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.errors import ConfigError, DataError
from cnn_lstm_hyperopt.inference.metadata import Features
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.inference.versions import POLICIES, History, ModelVersion, Policy, read_history
from cnn_lstm_hyperopt.pipeline.calibration import sets_on, temperature_on
from cnn_lstm_hyperopt.pipeline.updates.drift import earlier_errors, error_drift, errors_of, feature_drift
from cnn_lstm_hyperopt.pipeline.updates.measurement import Measured, difference_interval, measure
from cnn_lstm_hyperopt.pipeline.updates.present import Present, load_present
from cnn_lstm_hyperopt.pipeline.updates.publish import clean, now, publish, record
from cnn_lstm_hyperopt.pipeline.updates.reading import ReadBars
from cnn_lstm_hyperopt.pipeline.updates.summary import update_lines
from cnn_lstm_hyperopt.pipeline.updates.training import ClassMissingError, Trained, UpdateTraining
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.training import NonFiniteLossError
from cnn_lstm_hyperopt.utils.text import one_line, shown


@dataclass(frozen=True)
class UpdateResult:
    """Result of an update.

    Attributes:
        event: record of the update, as in ``versions.json``. Its entry ``version`` is the number of the new version, or None.
        served: number of the version that was measured.
        dry_run: True if nothing was written.
    """

    event: dict[str, Any]
    served: int
    dry_run: bool

    def __str__(self) -> str:
        """Return a short table: new bars, scores, comparison and decision."""
        return "\n".join(update_lines(self.event, dry_run=self.dry_run))

    @property
    def accepted(self) -> bool:
        """True if the candidate is not worse than the present version."""
        return bool(self.event["decision"] == "accepted")


def update(
    folder: Path,
    read: ReadBars,
    *,
    policy: Policy = "refit",
    dry_run: bool = False,
    features: Features | None = None,
    on_news: Callable[[str], None] = lambda _: None,
) -> UpdateResult:
    """Measure the present version of a model on new bars, and create a new version if a candidate is not worse.

    Args:
        folder: folder of a retrained model in the directory of its study.
        read: function that reads the bars.
        policy: how the candidate is trained: refit, finetune, or none (only measure).
        dry_run: True to train and compare the candidate without writing anything.
        features: user's function that computes features, if the model needs it.
        on_news: function that receives a line of text before each training.

    Raises:
        SaveDirError: the folder holds no model that can be updated, or another process uses the directory of the study.
        DataError: there are no new bars, or the bars are invalid or do not overlap the known period.
    """
    if policy not in POLICIES:
        text = f"--policy must be one of {', '.join(POLICIES)}, but got {shown(policy)}"
        raise ConfigError(text, field="--policy", code="unknown-policy")
    load_present(folder, features)  # errors in the folder come before the lock
    with nullcontext() if dry_run else only_run(folder.absolute().parent):
        if not dry_run:
            clean(folder, read_history(folder))
        present = load_present(folder, features)
        bars = read(present.symbols, present.model.description.feature_columns)
        event, version = UpdateRun(present, present.table(bars), policy, on_news, dry_run).run()
        if not dry_run:
            _write(folder, present.history, event, version)
        return UpdateResult(event, present.history.current, dry_run)


def _write(
    folder: Path, history: History, event: dict[str, Any], version: tuple[SavedModel, ModelVersion] | None
) -> None:
    if version is None:
        record(folder, history, event)
    else:
        publish(folder, history, *version, event)


@dataclass(frozen=True)
class UpdateRun:
    """One update in memory.

    Attributes:
        present: the present version.
        table: unscaled windows of all bars.
        policy: how the candidate is trained.
        on_news: function that receives a line of text before each training.
        dry_run: True to train the candidate, but not the new version.
    """

    present: Present
    table: WindowTable
    policy: Policy
    on_news: Callable[[str], None]
    dry_run: bool = False

    def run(self) -> tuple[dict[str, Any], tuple[SavedModel, ModelVersion] | None]:
        """Return the record of the update, and the new version if there is one.

        Raises:
            DataError: there are no new bars.
        """
        present, table, split = self.present, self.table, self._split()
        measured = measure(present.model, table, split.new) if len(split.new) else None
        errors = self._errors(split, measured)
        event: dict[str, Any] = {
            "event": "update",
            "time": now(),
            "policy": self.policy,
            "served": present.history.current,
            "measured_until": date_text(max(present.known_until, table.dates.max())),
            "symbols": len(present.symbols),
            "measured": None if measured is None else measured.as_dict(),
            "drift": self._drift(split, errors, measured),
            "errors": errors,
            "validation": None,
            "decision": "kept",
            "reason": "",
            "version": None,
        }
        try:
            found = self._candidate(split, event)
        except (ClassMissingError, NonFiniteLossError) as error:
            event["reason"] = f"the candidate could not be trained: {one_line(error, 300)}"
            return event, None
        if found is None:
            return event, None
        version = self._version(split, found.epochs, event["time"])
        event.update(version=version.version)
        return event, (found.model, version)

    def _split(self) -> UpdateSplit:
        present, table = self.present, self.table
        newest = table.dates.max()
        fresh_after = present.known_until if self.policy == "none" else present.tried_until
        if newest <= fresh_after:
            raise DataError(
                f"there are no new bars: the last labelled window is of {date_text(newest)}, and windows until"
                f" {date_text(fresh_after)} are known; add newer bars to the files",
                field="--data-dir",
                code="no-new-bars",
            )
        return update_split(
            table.dates,
            table.reach,
            seen_until=present.seen_until,
            measured_until=present.known_until,
            rolling_dates=present.rolling_dates,
            finetuned=self.policy == "finetune",
        )

    def _errors(self, split: UpdateSplit, measured: Measured | None) -> list[tuple[str, float]]:
        """Return the error rate of each new date. The first update adds the dates that the first version did not see."""
        found = [] if measured is None else errors_of(*measured.errors_by_date())
        known = split.unseen[~np.isin(split.unseen, split.new)]
        if earlier_errors(self.present.history.events) or not len(known):
            return found
        return errors_of(*measure(self.present.model, self.table, known).errors_by_date()) + found

    def _drift(self, split: UpdateSplit, errors: list[tuple[str, float]], measured: Measured | None) -> dict[str, Any]:
        present, table = self.present, self.table
        about, events = present.model.description, present.history.events
        served = [
            each for each in events if each.get("event") == "update" and each.get("served") == present.history.current
        ]
        new = 0 if measured is None else len(np.unique(measured.dates))
        return {
            "features": feature_drift(
                table,
                newest(table.dates, table.dates < present.seen_until, present.rolling_dates),
                split.unseen,
                lookback=about.lookback,
                names=about.features,
                test=len(served) + 1,
            ),
            "errors": error_drift([*earlier_errors(events), *errors], new),
        }

    def _candidate(self, split: UpdateSplit, event: dict[str, Any]) -> Trained | None:
        """Train and compare a candidate, and store the comparison in the record.

        Return the new version if the candidate is not worse and this is no dry run; otherwise return None.
        """
        if self.policy == "none":
            event.update(decision="measured", reason="policy none only measures")
            return None
        if not split.comparable:
            event["reason"] = (
                f"a comparison needs {2 * MIN_VALIDATION_DATES} unseen dates with training windows before them, and there are"
                f" {split.dates}"
            )
            return None
        present, table = self.present, self.table
        training = UpdateTraining(present, table, self.policy, present.history.next_number, self.on_news)
        candidate = training.train(split.candidate, "the candidate").model
        ours, theirs = (measure(model, table, split.validation) for model in (candidate, present.model))
        better = ours.log_loss <= theirs.log_loss
        event["validation"] = {
            "first": date_text(ours.dates.min()),
            "last": date_text(ours.dates.max()),
            "windows": len(ours.dates),
            "candidate_windows": len(split.candidate),
            "candidate": ours.as_dict(),
            "present": theirs.as_dict(),
            "difference": ours.log_loss - theirs.log_loss,
            "difference_interval": difference_interval(ours, theirs),
        }
        compared = f"log loss {ours.log_loss:.4f} against {theirs.log_loss:.4f} of version {present.history.current}"
        if not better:
            event["reason"] = f"the candidate is worse on the newest windows: {compared}"
            return None
        event.update(decision="accepted", reason=f"the candidate is not worse on the newest windows: {compared}")
        if self.dry_run:
            return None
        final = training.train(split.final, "the new version")
        return Trained(self._calibrated(final.model, candidate, split), final.epochs)

    def _calibrated(self, final: SavedModel, candidate: SavedModel, split: UpdateSplit) -> SavedModel:
        """Return the new version with the temperature and the prediction sets that fit the candidate on the validation windows.

        No windows are left on which the new version itself could be calibrated.
        """
        about = candidate.description
        if about.scaler is None:
            raise RuntimeError("a model of bars has a scaler")
        windows = scaled_windows(self.table, split.validation, about.scaler, about.lookback)
        predictions = replace(candidate, temperature=1.0).predict_windows(windows)
        temperature = temperature_on(windows, predictions, about.horizon)
        return replace(final, temperature=temperature, conformal=sets_on(windows, predictions, temperature))

    def _version(self, split: UpdateSplit, epochs: int, created: str) -> ModelVersion:
        present, table = self.present, self.table
        trained = table.dates[split.final]
        return ModelVersion(
            version=present.history.next_number,
            parent=present.history.current,
            created=created,
            policy=self.policy,
            trained_until=date_text(trained.max()),
            seen_until=date_text(table.reach[split.final].max()),
            windows=len(split.final),
            dates=present.rolling_dates if self.policy == "finetune" else len(np.unique(trained)),
            epochs=epochs,
        )
