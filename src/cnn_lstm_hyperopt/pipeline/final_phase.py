"""After the search: the best of the front are confirmed with fresh seeds, K are retrained, and the test period is opened once."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings, readable
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import shrinkage
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.inference.latency import measure_latency
from cnn_lstm_hyperopt.pipeline.confirmation import (
    CONFIRMATION_SHARE,
    CONFIRMED_FROM_FRONT,
    TIME_IS_UP,
    Candidate,
    Confirmed,
    confirm,
)
from cnn_lstm_hyperopt.pipeline.ensemble_selection import blend
from cnn_lstm_hyperopt.pipeline.results.final_results import (
    baseline_results,
    confirmation_results,
    ensemble_results,
    retrained_results,
    verdict_results,
)
from cnn_lstm_hyperopt.pipeline.results.model_folders import holds_ensemble, holds_model, save_models, write_retrained
from cnn_lstm_hyperopt.pipeline.resume_state import RoundRecord, end_round
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Given, Retrained, Retraining, retrain
from cnn_lstm_hyperopt.pipeline.test_evaluation import evaluate_once
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.grades import known_grade
from cnn_lstm_hyperopt.reporting.model_card import model_cards
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, FINAL
from cnn_lstm_hyperopt.search import Study, StudyStorage, with_fixed
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.text import counted

AFTER_SEARCH = (
    "confirmation",
    "retrained_models",
    "ensemble",
    "retraining_failures",
    "baselines",
    "verdict",
    "full_epochs",
    "seeds",
    "retrained_after_trials",
)
"""What ``results.json`` holds of all this."""


def checkpoint_folder(save_dir: Path) -> Path:
    """Where the states of the trainings after the search lie until the results are written."""
    return save_dir / CHECKPOINTS / FINAL


def forget_final_round(save_dir: Path, storage: StudyStorage) -> None:
    """Removes all that a round left so that it could be gone on with. To be called when its results are written, not before."""
    end_round(storage)
    shutil.rmtree(checkpoint_folder(save_dir), ignore_errors=True)


@dataclass
class FinalRound:
    """Works on a study that has a front.

    A run that is killed or interrupted on the way is gone on with by the next: each training from its state, all else from what
    the study's :class:`.RoundRecord` says was decided, so that nothing is done twice and the results are the same.

    Attributes:
        after_search: what it finds out, by the keys of :data:`AFTER_SEARCH`; what an earlier run found out is there already.
    """

    settings: Settings
    dataset: Dataset
    runner: TrialRunner
    study: Study
    terminal: Terminal
    after_search: dict[str, Any]

    def run(self, stop: StopSignal) -> list[dict[str, Any]]:
        """Confirms the best of the front, retrains K of them and tests these once, unless that was already done with these very
        configurations.

        Returns:
            An entry for each model; with any, the round is over: :func:`forget_final_round` once they are written.

        Raises:
            OSError: what a training or the round leaves can't be stored.
        """
        chosen, limit = self.settings.retrain, self.settings.limits.retrain_seconds
        checkpoint_folder(self.settings.save_dir).parent.mkdir(exist_ok=True)
        candidates = self._candidates(chosen.top_k)
        record = RoundRecord(self.study.storage, self.settings, [each.trial_number for each in candidates])
        stop.set_deadline(None if limit is None else limit - record.seconds)
        confirmed = self._confirm(candidates, record, stop)
        if stop.interrupted:
            self.terminal.say(f"Confirmation ended by {stop.reason}; the test period stays closed.", style="yellow")
            return []
        if not self.after_search.get("retrained_models"):  # else it stays beside the results that it led to
            self.after_search["confirmation"] = confirmation_results(confirmed)
        self.terminal.show_confirmation(confirmed, self.study.plan)
        finalists = [
            Finalist(rank, each.candidate.trial_number, each.candidate.params, each)
            for rank, each in enumerate(confirmed.ranked[: chosen.top_k], start=1)
        ]
        if not finalists:
            self.terminal.warn(
                "no candidate could be trained again, so none is retrained; the test period stays closed"
            )
            return []
        if len(finalists) < chosen.top_k:
            self.terminal.say(
                f"Retraining {counted(len(finalists), 'candidate')}, not {chosen.top_k}: the front and its confirmation left no"
                " more."
            )
        if self._already_retrained(finalists):
            self.terminal.say("These finalists are already retrained and tested; their results are kept.")
            self._keep(confirmed, finalists)
            self.terminal.show_grade(
                known_grade(self.after_search["verdict"]), self.after_search["verdict"]["sentence"]
            )
            kept: list[dict[str, Any]] = self.after_search["retrained_models"]
            return kept

        outcome = self._retrain(finalists, record, stop)
        for finalist, reason in outcome.failures:
            self.terminal.warn(f"rank {finalist.rank} (trial {finalist.trial_number}) could not be retrained: {reason}")
        for each in outcome.done:
            for failure in each.failures:
                which = f"rank {each.finalist.rank} (trial {each.finalist.trial_number})"
                self.terminal.warn(f"{which} lacks a seed that failed: {failure}")
        ended = stop.reason if stop.interrupted else outcome.ended and outcome.ended.reason
        if ended is not None or not outcome.done:
            why = ended or "failures alone"
            self.terminal.say(f"Retraining ended by {why}; the test period stays closed.", style="yellow")
            return []
        return self._test(confirmed, outcome)

    def _retrain(self, finalists: Sequence[Finalist], record: RoundRecord, stop: StopSignal) -> Retraining:
        """Trains the finalists on all training windows; what a run shows of it."""
        chosen, full_epochs = self.settings.retrain, self.settings.retrain.full_epochs
        begun = set(record.given)

        def on_report(finalist: Finalist, seed: int, epochs: int) -> OnReport:
            fewer = f", {epochs} epochs so as to keep limits.retrain_seconds" if epochs < full_epochs else ""
            again = ", from where it was" if (finalist.trial_number, seed) in begun else ""
            self.terminal.say(
                f"Retraining rank {finalist.rank} (trial {finalist.trial_number}) on all training windows, seed {seed} of"
                f" {chosen.seeds}{fewer}{again} …"
            )
            return self._listener(f"rank {finalist.rank}, seed {seed}", epochs, record, stop)

        def on_given(finalist: Finalist, seed: int, given: Given) -> None:
            record.spend(stop.seconds_left)
            record.give(finalist, seed, given)

        with self.terminal.watch_training("Retraining"):
            return retrain(
                finalists,
                self.runner,
                self.dataset,
                full_epochs=full_epochs,
                max_gap_days=self.settings.data.max_gap_days,
                checkpoints=checkpoint_folder(self.settings.save_dir),
                known=dict(record.given),
                on_report=on_report,
                on_given=on_given,
                seeds=chosen.seeds,
                seconds_left=lambda: stop.seconds_left,
            )

    def _listener(self, which: str, epochs: int, record: RoundRecord, stop: StopSignal) -> OnReport:
        """Shows a training, counts its time and ends it when the run is interrupted, unless it ends of itself."""

        def decide(report: ProgressReport) -> Decision:
            self.terminal.on_training(which, report, epochs)
            if report.score is not None and not report.again:
                record.spend(stop.seconds_left)
            if stop.interrupted and not report.last:
                return Decision(Action.STOP, str(stop.reason))
            return CONTINUE

        return decide

    def _candidates(self, top_k: int) -> list[Candidate]:
        """The first ranks of the front, three for each model that is to be retrained, with their whole configurations."""
        space, front = self.study.plan.space, self.study.front()[: CONFIRMED_FROM_FRONT * top_k]
        return [
            Candidate(rank, record.number, with_fixed(space, record.params), record.values.score)
            for rank, record in enumerate(front, start=1)
            if record.values is not None
        ]

    def _confirm(self, candidates: list[Candidate], record: RoundRecord, stop: StopSignal) -> Confirmed:
        """Trains the candidates again with fresh seeds; what an interrupted run has done of it is not done again."""
        seeds, limit = self.settings.retrain.confirm_seeds, self.settings.limits.retrain_seconds
        missing = sum(max(0, seeds - len(record.readings.get(each.trial_number, ()))) for each in candidates)
        if missing and not record.confirmation_ended:
            self.terminal.say(
                f"Confirming the first {len(candidates)} of the front on validation, each with {counted(seeds, 'fresh seed')}"
                f" ({counted(missing, 'training')}) …"
            )

        def on_report(candidate: Candidate, seed: int) -> OnReport:
            which = f"trial {candidate.trial_number}, fresh seed {seed}"
            return self._listener(which, self.study.plan.max_epochs, record, stop)

        seconds_left = None if limit is None else CONFIRMATION_SHARE * limit - record.seconds
        with self.terminal.watch_training("Confirmation"):
            confirmed = confirm(
                candidates,
                self.runner,
                seeds=seeds,
                known=record.readings,
                diverged=record.diverged,
                checkpoints=checkpoint_folder(self.settings.save_dir),
                on_report=on_report,
                on_reading=record.read,
                on_divergence=record.diverge,
                seconds_left=-math.inf if record.confirmation_ended else seconds_left,
            )
        out_of_time = confirmed.ended is not None and confirmed.ended.reason == TIME_IS_UP
        record.spend(stop.seconds_left, confirmation_ended=out_of_time)
        for each in confirmed.dropped:
            self.terminal.warn(
                f"trial {each.candidate.trial_number} is no candidate any more: it failed with {each.failure}"
            )
        return confirmed

    def _keep(self, confirmed: Confirmed, finalists: Sequence[Finalist]) -> None:
        """The verdict stays; what fresh seeds say may have been asked of more of them."""
        self.after_search["confirmation"] = confirmation_results(confirmed)
        steps, scores = self.after_search["verdict"]["shrinkage"], finalists[0].confirmation
        if scores is not None and scores.scores and steps["test_score"] is not None:
            steps["confirmed_score"] = scores.mean
            steps["confirmed_to_test"] = shrinkage(scores.mean, steps["test_score"])

    def _test(self, confirmed: Confirmed, outcome: Retraining) -> list[dict[str, Any]]:
        """Opens the test period, once for all, and writes what it said."""
        save_dir, done = self.settings.save_dir, outcome.done
        found = blend(done, self.dataset.validation, self.settings.study.metric)
        save_models(save_dir, done, found)
        openings = self._record_test_opening(done)
        verdict = evaluate_once(done, self.dataset, self.settings, blend=found)
        entries = retrained_results(done, verdict, save_dir)
        for entry, each in zip(entries, done, strict=True):
            model = each.kept.model
            entry["latency"] = measure_latency(model.network, model.description.lookback)._asdict()
        ensemble = (
            None if found is None or verdict.ensemble is None else ensemble_results(found, verdict.ensemble, save_dir)
        )
        results = {
            "confirmation": confirmation_results(confirmed),
            "retrained_models": entries,
            "ensemble": ensemble,
            "retraining_failures": [
                {"model_rank": finalist.rank, "trial_number": finalist.trial_number, "reason": reason}
                for finalist, reason in outcome.failures
            ],
            "baselines": baseline_results(verdict),
            "verdict": verdict_results(verdict, done[0], openings=openings),
            "full_epochs": self.settings.retrain.full_epochs,
            "seeds": self.settings.retrain.seeds,
            "retrained_after_trials": self.study.n_finished(),
        }
        cards = model_cards(done, found, results, data=self.dataset.description, study=self.settings.study.name)
        write_retrained(save_dir, done, verdict, entries, ensemble=ensemble, cards=cards)
        self.after_search.update(results)
        self.terminal.show_verdict(verdict, done, opened=openings)
        return entries

    def _already_retrained(self, finalists: list[Finalist]) -> bool:
        """Whether these very configurations were retrained and tested: then the test period is not opened for them again."""
        entries, chosen = self.after_search.get("retrained_models", []), self.settings.retrain
        failed = {failure["model_rank"] for failure in self.after_search.get("retraining_failures", [])}
        now = [(f.rank, readable(f.params)) for f in finalists if f.rank not in failed]
        before = [(entry["model_rank"], entry["config_params"]) for entry in entries]
        alike = (self.after_search.get("full_epochs"), self.after_search.get("seeds")) == (
            chosen.full_epochs,
            chosen.seeds,
        )
        save_dir, ensemble = self.settings.save_dir, self.after_search.get("ensemble")
        whole = all(holds_model(save_dir, entry) for entry in entries)
        return (
            bool(entries) and before == now and alike and whole and (not ensemble or holds_ensemble(save_dir, ensemble))
        )

    def _record_test_opening(self, retrained: list[Retrained]) -> int:
        """Stores, before the test period is opened, that it will be; returns how often that has happened in this study.

        A run that goes on after one that was killed before it wrote its results opens it for the very same models. That is the
        same opening: nobody has chosen anything by what it said.
        """
        models = [
            {
                "trial_number": each.finalist.trial_number,
                "seeds": [run.seed for run in each.runs],
                "epochs": [run.epochs for run in each.runs],
            }
            for each in retrained
        ]
        openings: list[dict[str, Any]] = self.study.storage.attribute("test_openings") or []
        if not openings or openings[-1].get("models") != models:
            openings.append(
                {
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                    "trials": [each.finalist.trial_number for each in retrained],
                    "models": models,
                }
            )
            self.study.storage.set_attribute("test_openings", openings)
            self.study.storage.back_up()  # a copy that somebody goes back to must know of it, too
        return len(openings)
