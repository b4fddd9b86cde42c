"""After the search: the best of the front are confirmed with fresh seeds, K are retrained, and the test period is opened once."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import dump_settings, readable
from cnn_lstm_hyperopt.evaluation import shrinkage
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.confirmation import (
    CONFIRMATION_SHARE,
    CONFIRMED_FROM_FRONT,
    TIME_IS_UP,
    Candidate,
    Confirmed,
    confirm,
)
from cnn_lstm_hyperopt.pipeline.events import trainings
from cnn_lstm_hyperopt.pipeline.final_test import evaluate_finalists
from cnn_lstm_hyperopt.pipeline.results.final_results import confirmation_results
from cnn_lstm_hyperopt.pipeline.results.model_folders import holds_ensemble, holds_model
from cnn_lstm_hyperopt.pipeline.resume_state import RoundRecord, end_round
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Given, Retraining, retrain
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, CONFIG_FILE, FINAL
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import StudyStorage, with_fixed
from cnn_lstm_hyperopt.utils.atomic_io import write_text


def run_final_phase(session: Session, stop: StopSignal) -> list[dict[str, Any]]:
    """Confirms the best of the front, retrains K of them and tests these once; returns an entry of ``results.json`` for each.

    Raises:
        StorageFailedError: what a training or the phase leaves can't be stored.
    """
    save_dir = session.save_dir
    with storage_faults(save_dir):
        # A Python program may ask for other models than config.yaml says.
        write_text(save_dir / CONFIG_FILE, dump_settings(session.settings), make_folder=False)
        entries = FinalPhase(session, stop).run()
    session.final_over = bool(entries)
    return entries


def checkpoint_folder(save_dir: Path) -> Path:
    """Where the states of the trainings after the search lie until the results are written."""
    return save_dir / CHECKPOINTS / FINAL


def delete_final_phase_state(save_dir: Path, storage: StudyStorage) -> None:
    """Removes all that a final phase left for a run that continues it. To be called when its results are written, not before."""
    end_round(storage)
    shutil.rmtree(checkpoint_folder(save_dir), ignore_errors=True)


@dataclass
class FinalPhase:
    """Works on a study that has a front.

    A run that is killed or interrupted on the way is continued by the next: each training from its state, all else from what
    the study's :class:`.RoundRecord` says was decided, so that nothing is done twice and the results are the same.
    """

    session: Session
    stop: StopSignal

    def run(self) -> list[dict[str, Any]]:
        """Confirm, retrain, test; what was already done with these very configurations is kept.

        Returns:
            An entry for each model; with any, the phase is over: :func:`delete_final_phase_state` once they are written.

        Raises:
            OSError: what a training or the phase leaves can't be stored.
        """
        session, stop, events = self.session, self.stop, self.session.events
        chosen, limit = session.settings.retrain, session.settings.limits.retrain_seconds
        checkpoint_folder(session.save_dir).parent.mkdir(exist_ok=True)
        candidates = self._candidates(chosen.top_k)
        record = RoundRecord(session.study.storage, session.settings, [each.trial_number for each in candidates])
        stop.set_deadline(None if limit is None else limit - record.seconds)
        confirmed = self._confirm(candidates, record)
        if stop.interrupted:
            events.on_confirmation_interrupted(str(stop.reason))
            return []
        if not session.final.get("retrained_models"):  # else it stays beside the results that it led to
            session.final["confirmation"] = confirmation_results(confirmed)
        events.on_confirmation_end(confirmed, session.study.plan.metric)
        finalists = [
            Finalist(rank, each.candidate.trial_number, each.candidate.params, each)
            for rank, each in enumerate(confirmed.ranked[: chosen.top_k], start=1)
        ]
        if not finalists:
            events.on_warning("no candidate could be trained again, so none is retrained; the test period stays closed")
            return []
        if len(finalists) < chosen.top_k:
            events.on_fewer_finalists(len(finalists), chosen.top_k)
        if self._already_retrained(finalists):
            self._keep(confirmed, finalists)
            events.on_results_kept(session.final["verdict"])
            kept: list[dict[str, Any]] = session.final["retrained_models"]
            return kept
        outcome = self._retrain(finalists, record)
        return evaluate_finalists(session, confirmed, outcome) if self._is_complete(outcome) else []

    def _is_complete(self, outcome: Retraining) -> bool:
        """Whether the finalists can be tested; reports what failed."""
        events = self.session.events
        for finalist, reason in outcome.failures:
            events.on_warning(f"rank {finalist.rank} (trial {finalist.trial_number}) could not be retrained: {reason}")
        for each in outcome.done:
            for failure in each.failures:
                which = f"rank {each.finalist.rank} (trial {each.finalist.trial_number})"
                events.on_warning(f"{which} lacks a seed that failed: {failure}")
        ended_by = self.stop.reason if self.stop.interrupted else outcome.ended and outcome.ended.reason
        if ended_by is not None or not outcome.done:
            events.on_retraining_interrupted(ended_by or "failures alone")
            return False
        return True

    def _retrain(self, finalists: Sequence[Finalist], record: RoundRecord) -> Retraining:
        """Trains the finalists on all training windows."""
        session, stop, events = self.session, self.stop, self.session.events
        chosen = session.settings.retrain
        begun = set(record.given)

        def on_report(finalist: Finalist, seed: int, epochs: int) -> OnReport:
            fewer, continues = epochs < chosen.full_epochs, (finalist.trial_number, seed) in begun
            events.on_retraining_start(finalist, seed, chosen.seeds, epochs, fewer=fewer, continues=continues)
            return self._listener(f"rank {finalist.rank}, seed {seed}", epochs, record)

        def on_epochs_set(finalist: Finalist, seed: int, given: Given) -> None:
            record.spend(stop.seconds_left)
            record.give(finalist, seed, given)

        with trainings(events, "Retraining"):
            return retrain(
                finalists,
                session.runner,
                session.dataset,
                full_epochs=chosen.full_epochs,
                max_gap_days=session.settings.data.max_gap_days,
                checkpoints=checkpoint_folder(session.save_dir),
                known=dict(record.given),
                on_report=on_report,
                on_epochs_set=on_epochs_set,
                seeds=chosen.seeds,
                seconds_left=lambda: stop.seconds_left,
            )

    def _listener(self, which: str, epochs: int, record: RoundRecord) -> OnReport:
        """Reports a training, counts its time and ends it when the run is interrupted, unless it ends of itself."""
        stop, events = self.stop, self.session.events

        def decide(report: ProgressReport) -> Decision:
            events.on_training(which, report, epochs)
            if report.score is not None and not report.again:
                record.spend(stop.seconds_left)
            if stop.interrupted and not report.last:
                return Decision(Action.STOP, str(stop.reason))
            return CONTINUE

        return decide

    def _candidates(self, top_k: int) -> list[Candidate]:
        """The first ranks of the front, three for each model that is to be retrained, with their whole configurations."""
        study = self.session.study
        return [
            Candidate(rank, record.number, with_fixed(study.plan.space, record.params), record.values.score)
            for rank, record in enumerate(study.front()[: CONFIRMED_FROM_FRONT * top_k], start=1)
            if record.values is not None
        ]

    def _confirm(self, candidates: list[Candidate], record: RoundRecord) -> Confirmed:
        """Trains the candidates again with fresh seeds; what an interrupted run has done of it is not done again."""
        session, events = self.session, self.session.events
        seeds, limit = session.settings.retrain.confirm_seeds, session.settings.limits.retrain_seconds
        missing = sum(max(0, seeds - len(record.readings.get(each.trial_number, ()))) for each in candidates)
        if missing and not record.confirmation_ended:
            events.on_confirmation_start(candidates, seeds, missing)

        def on_report(candidate: Candidate, seed: int) -> OnReport:
            which = f"trial {candidate.trial_number}, fresh seed {seed}"
            return self._listener(which, session.study.plan.max_epochs, record)

        seconds_left = None if limit is None else CONFIRMATION_SHARE * limit - record.seconds
        with trainings(events, "Confirmation"):
            confirmed = confirm(
                candidates,
                session.runner,
                seeds=seeds,
                known=record.readings,
                diverged=record.diverged,
                checkpoints=checkpoint_folder(session.save_dir),
                on_report=on_report,
                on_reading=record.read,
                on_divergence=record.diverge,
                seconds_left=-math.inf if record.confirmation_ended else seconds_left,
            )
        out_of_time = confirmed.ended is not None and confirmed.ended.reason == TIME_IS_UP
        record.spend(self.stop.seconds_left, confirmation_ended=out_of_time)
        for each in confirmed.dropped:
            events.on_warning(
                f"trial {each.candidate.trial_number} is no candidate any more: it failed with {each.failure}"
            )
        return confirmed

    def _keep(self, confirmed: Confirmed, finalists: Sequence[Finalist]) -> None:
        """The verdict stays; more fresh seeds may have been asked for than it was given with."""
        final = self.session.final
        final["confirmation"] = confirmation_results(confirmed)
        steps, scores = final["verdict"]["shrinkage"], finalists[0].confirmation
        if scores is not None and scores.scores and steps["test_score"] is not None:
            steps["confirmed_score"] = scores.mean
            steps["confirmed_to_test"] = shrinkage(scores.mean, steps["test_score"])

    def _already_retrained(self, finalists: list[Finalist]) -> bool:
        """Whether these very configurations were retrained and tested: then the test period is not opened for them again."""
        final, chosen, save_dir = self.session.final, self.session.settings.retrain, self.session.save_dir
        entries = final.get("retrained_models", [])
        failed = {failure["model_rank"] for failure in final.get("retraining_failures", [])}
        now = [(f.rank, readable(f.params)) for f in finalists if f.rank not in failed]
        before = [(entry["model_rank"], entry["config_params"]) for entry in entries]
        if not entries or before != now:
            return False
        if (final.get("full_epochs"), final.get("seeds")) != (chosen.full_epochs, chosen.seeds):
            return False
        ensemble = final.get("ensemble")
        return all(holds_model(save_dir, entry) for entry in entries) and (
            not ensemble or holds_ensemble(save_dir, ensemble)
        )
