"""Final phase of a study: confirm the best trials with new seeds, retrain the best candidates, and test their models once."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import dump_settings
from cnn_lstm_hyperopt.evaluation import shrinkage
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.confirmation import (
    CONFIRMATION_SHARE,
    TIME_IS_UP,
    Candidate,
    Confirmed,
    confirm,
)
from cnn_lstm_hyperopt.pipeline.earlier_results import EarlierResults
from cnn_lstm_hyperopt.pipeline.events import trainings
from cnn_lstm_hyperopt.pipeline.feature_selection import (
    FEATURE_SELECTION,
    SELECTION_SHARE,
    Selection,
    optional_groups,
    with_recommended,
)
from cnn_lstm_hyperopt.pipeline.final_test import evaluate_finalists
from cnn_lstm_hyperopt.pipeline.finalists import choose_finalists, find_candidates
from cnn_lstm_hyperopt.pipeline.results.final_results import confirmation_results
from cnn_lstm_hyperopt.pipeline.resume_state import ResumeState, end_round
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retraining, SeedState, retrain
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.pipeline.walk_forward import Refits
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, CONFIG_FILE, FINAL
from cnn_lstm_hyperopt.run_dir.run_log import log_phase
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import StudyStorage, count_confirmations
from cnn_lstm_hyperopt.utils.atomic_io import write_text


def run_final_phase(session: Session, stop: StopSignal) -> list[dict[str, Any]]:
    """Run the final phase of a study. Return an entry of ``results.json`` for each retrained model.

    Raises:
        StorageFailedError: a checkpoint or the results can't be stored.
    """
    save_dir = session.save_dir
    with storage_faults(save_dir):
        # a Python program may use other settings than config.yaml
        write_text(save_dir / CONFIG_FILE, dump_settings(session.settings), make_folder=False)
        entries = FinalPhase(session, stop).run()
    session.final_over = bool(entries)
    return entries


def checkpoint_folder(save_dir: Path) -> Path:
    """Return the folder of the checkpoints of trainings after the search.

    The folder is deleted when the results are written.
    """
    return save_dir / CHECKPOINTS / FINAL


def delete_final_phase_state(save_dir: Path, storage: StudyStorage) -> None:
    """Delete the stored state from which a final phase can be resumed.

    Call this only after the results of the phase are written.
    """
    end_round(storage)
    shutil.rmtree(checkpoint_folder(save_dir), ignore_errors=True)


@dataclass
class FinalPhase:
    """Final phase of a study with completed trials: confirmation, retraining and test.

    If the phase is interrupted, the next run resumes it from the checkpoints and the study's :class:`.ResumeState`. No
    training is repeated, and the results are the same as without the interruption.
    """

    session: Session
    stop: StopSignal

    def run(self) -> list[dict[str, Any]]:
        """Confirm, retrain and test the best trials. If the same configurations were already tested, keep their results.

        Returns:
            An entry of ``results.json`` for each retrained model; an empty list if the phase is not complete.

        Raises:
            OSError: a checkpoint or the results can't be stored.
        """
        session, stop, events = self.session, self.stop, self.session.events
        chosen, limit = session.settings.retrain, session.settings.limits.retrain_seconds
        checkpoint_folder(session.save_dir).parent.mkdir(exist_ok=True)
        candidates = find_candidates(session)
        state = ResumeState(session.study.storage, session.settings, [each.trial_number for each in candidates])
        stop.set_deadline(None if limit is None else limit - state.seconds)
        if session.settings.features.select:
            candidates = self._with_selected_inputs(candidates, state)
            if stop.interrupted:
                events.on_feature_selection_interrupted(str(stop.reason))
                return []
        log_phase("confirmation")
        confirmed = self._confirm(candidates, state)
        if stop.interrupted:
            events.on_confirmation_interrupted(str(stop.reason))
            return []
        if not session.final.get("retrained_models"):  # otherwise keep the confirmation that selected these models
            session.final["confirmation"] = confirmation_results(confirmed)
        events.on_confirmation_end(confirmed, session.study.plan.metric)
        finalists = choose_finalists(session, confirmed)
        if not finalists:
            events.on_warning("no candidate could be trained with new seeds, so none is retrained or tested")
            return []
        if len(finalists) < chosen.top_k:
            events.on_fewer_finalists(len(finalists), chosen.top_k)
        earlier = EarlierResults(session, finalists)
        if earlier.have_these_models:
            return self._from_stored_models(earlier, confirmed, state)
        log_phase("retraining")
        outcome = self._retrain(finalists, state)
        if not self._is_complete(outcome):
            return []
        return evaluate_finalists(session, confirmed, outcome, self._refits(state))

    def _from_stored_models(
        self, earlier: EarlierResults, confirmed: Confirmed, state: ResumeState
    ) -> list[dict[str, Any]]:
        """Keep the results of an earlier run. If settings of the evaluation changed, evaluate the stored models with these.

        Return an entry of ``results.json`` for each model. This is not a new evaluation of the test set, because no other
        model is evaluated, unless the ensemble has another method.
        """
        session, changes = self.session, earlier.changes
        outcome = earlier.retraining() if changes else None
        if outcome is not None:
            session.events.on_verdict_again(changes)
            after_trials = session.final["retrained_after_trials"]
            entries = evaluate_finalists(session, confirmed, outcome, self._refits(state))
            session.final["retrained_after_trials"] = after_trials
            return entries
        if changes:
            session.events.on_warning(
                f"{'; '.join(changes)}. The stored verdict is kept, because not all of its models are stored; undo this change,"
                " or choose another save_dir"
            )
        self._keep(confirmed, earlier.finalists)
        session.events.on_results_kept(session.final["verdict"])
        kept: list[dict[str, Any]] = session.final["retrained_models"]
        return kept

    def _refits(self, state: ResumeState) -> Refits:
        """Return the trainings for later periods of the test set."""

        def listener(which: str, epochs: int) -> OnReport:
            return self._listener(which, epochs, state)

        return Refits(self.session, state, self.stop, checkpoint_folder(self.session.save_dir), listener)

    def _is_complete(self, outcome: Retraining) -> bool:
        """Report failed and interrupted trainings. Return True if the finalists can be tested."""
        events = self.session.events
        for finalist, reason in outcome.failures:
            events.on_warning(f"rank {finalist.rank} (trial {finalist.trial_number}) could not be retrained: {reason}")
        for each in outcome.done:
            for failure in each.failures:
                which = f"rank {each.finalist.rank} (trial {each.finalist.trial_number})"
                events.on_warning(f"{which} has one seed less: {failure}")
        ended_by = self.stop.reason if self.stop.interrupted else outcome.ended and outcome.ended.reason
        if ended_by is not None or not outcome.done:
            events.on_retraining_interrupted(ended_by or "failures alone")
            return False
        return True

    def _retrain(self, finalists: Sequence[Finalist], state: ResumeState) -> Retraining:
        """Train the finalists on all training windows and return the result."""
        session, stop, events = self.session, self.stop, self.session.events
        chosen, left = session.settings.retrain, stop.seconds_left
        # the trainings for later periods of the test set get the same time as these trainings
        reserved = 0.0 if left is None else left * (1 - 1 / session.dataset.n_periods)
        known = {(trial, seed): known for (trial, seed, period), known in state.seed_states.items() if period == 1}

        def on_report(finalist: Finalist, seed: int, epochs: int) -> OnReport:
            fewer, continues = epochs < chosen.full_epochs, (finalist.trial_number, seed) in known
            events.on_retraining_start(finalist, seed, chosen.seeds, epochs, fewer=fewer, continues=continues)
            return self._listener(f"rank {finalist.rank}, seed {seed}", epochs, state)

        def on_seed_state(finalist: Finalist, seed: int, seed_state: SeedState) -> None:
            state.save_time(stop.seconds_left)
            state.save_seed_state(finalist, seed, seed_state)

        with trainings(events, "Retraining"):
            return retrain(
                finalists,
                session.runner,
                session.dataset,
                full_epochs=chosen.full_epochs,
                max_gap_days=session.settings.data.max_gap_days,
                checkpoints=checkpoint_folder(session.save_dir),
                known=known,
                on_report=on_report,
                on_seed_state=on_seed_state,
                seeds=chosen.seeds,
                seconds_left=lambda: None if stop.seconds_left is None else max(0.0, stop.seconds_left - reserved),
            )

    def _listener(self, which: str, epochs: int, state: ResumeState) -> OnReport:
        """Return a progress listener for a training.

        The listener emits events, counts the used time and stops the training if the run is interrupted.
        """
        stop, events = self.stop, self.session.events

        def decide(report: ProgressReport) -> Decision:
            events.on_training(which, report, epochs)
            if report.score is not None and not report.again:
                state.save_time(stop.seconds_left)
            if stop.interrupted and not report.last:
                return Decision(Action.STOP, str(stop.reason))
            return CONTINUE

        return decide

    def _with_selected_inputs(self, candidates: list[Candidate], state: ResumeState) -> list[Candidate]:
        """Return the candidates with the recommended groups of inputs.

        Inputs are selected once for a study. Later final phases use the stored selection, since the results with new seeds are
        those of the selected inputs.
        """
        session, events, limit = self.session, self.session.events, self.session.settings.limits.retrain_seconds
        result = session.study.storage.attribute(FEATURE_SELECTION)
        if result is None and candidates and (groups := optional_groups(session)):
            log_phase("selection of inputs")
            events.on_feature_selection_start(len(groups))

            def listener(which: str) -> OnReport:
                return self._listener(which, session.study.plan.max_epochs, state)

            seconds_left = None if limit is None else SELECTION_SHARE * limit - state.seconds
            checkpoints = checkpoint_folder(session.save_dir)
            with trainings(events, "Selection of inputs"):
                found = Selection(session, candidates, checkpoints, listener, seconds_left).run()
            state.save_time(self.stop.seconds_left)
            if isinstance(found, Decision):
                return candidates
            result = found
            session.study.storage.set_attribute(FEATURE_SELECTION, result)
        if result is None:
            events.on_warning("features.select: the data have no group of inputs that can be left out")
            return candidates
        session.final[FEATURE_SELECTION] = result
        events.on_feature_selection(result)
        return [with_recommended(each, result) for each in candidates]

    def _confirm(self, candidates: list[Candidate], state: ResumeState) -> Confirmed:
        """Train the candidates with new seeds. Trainings that an interrupted run has completed are skipped."""
        session, events = self.session, self.session.events
        chosen, limit = session.settings.retrain, session.settings.limits.retrain_seconds
        seeds, known = chosen.confirm_seeds, [state.measurements.get(each.trial_number, ()) for each in candidates]
        missing = count_confirmations(len(candidates), seeds, chosen.top_k) - sum(
            min(seeds, len(each)) for each in known
        )
        if missing > 0 and not state.confirmation_ended:
            events.on_confirmation_start(candidates, seeds, missing)

        def on_report(candidate: Candidate, seed: int) -> OnReport:
            which = f"trial {candidate.trial_number}, new seed {seed}"
            return self._listener(which, session.study.plan.max_epochs, state)

        seconds_left = None if limit is None else CONFIRMATION_SHARE * limit - state.seconds
        with trainings(events, "Confirmation"):
            confirmed = confirm(
                candidates,
                session.runner,
                seeds=seeds,
                keep=chosen.top_k,
                known=state.measurements,
                diverged=state.diverged,
                checkpoints=checkpoint_folder(session.save_dir),
                on_report=on_report,
                on_measurement=state.save_measurements,
                on_divergence=state.save_divergence,
                seconds_left=-math.inf if state.confirmation_ended else seconds_left,
            )
        out_of_time = confirmed.ended is not None and confirmed.ended.reason == TIME_IS_UP
        state.save_time(self.stop.seconds_left, confirmation_ended=out_of_time)
        for each in confirmed.dropped:
            events.on_warning(
                f"trial {each.candidate.trial_number} is no longer a candidate: it failed with {each.failure}"
            )
        return confirmed

    def _keep(self, confirmed: Confirmed, finalists: Sequence[Finalist]) -> None:
        """Keep the verdict of an earlier run.

        Replace the confirmation of the earlier run, because results with more new seeds may be known now.
        """
        final = self.session.final
        final["confirmation"] = confirmation_results(confirmed)
        steps, scores = final["verdict"]["shrinkage"], finalists[0].confirmation
        if scores is not None and scores.scores and steps["test_score"] is not None:
            steps["confirmed_score"] = scores.mean
            steps["confirmed_to_test"] = shrinkage(scores.mean, steps["test_score"])
