"""After the search: the best of the front are confirmed with fresh seeds, K are retrained, and the test period is opened once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cnn_lstm_hyperopt.config import Settings, readable
from cnn_lstm_hyperopt.confirmation import CONFIRMATION_SHARE, CONFIRMED_FROM_FRONT, Candidate, Confirmed, confirm
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import shrinkage
from cnn_lstm_hyperopt.execution import CTRL_C, StopSignal
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.reporting.finals import (
    baseline_results,
    confirmation_results,
    retrained_results,
    save_models,
    verdict_results,
    write_retrained,
)
from cnn_lstm_hyperopt.reporting.terminal import Terminal
from cnn_lstm_hyperopt.reporting.wording import counted
from cnn_lstm_hyperopt.retraining import Finalist, Retrained, Retraining, retrain
from cnn_lstm_hyperopt.search import Study, with_fixed
from cnn_lstm_hyperopt.trial_runner import TrialRunner
from cnn_lstm_hyperopt.verdict import evaluate_once

AFTER_SEARCH = (
    "confirmation",
    "retrained_models",
    "retraining_failures",
    "baselines",
    "verdict",
    "full_epochs",
    "seeds",
    "retrained_after_trials",
)
"""What ``results.json`` holds of all this."""


@dataclass
class FinalRound:
    """Works on a study that has a front.

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
        configurations."""
        chosen = self.settings.retrain
        stop.set_deadline(self.settings.limits.retrain_seconds)
        confirmed = self._confirm(stop)
        if stop.interrupted:
            self.terminal.say("Confirmation ended by Ctrl-C; the test period stays closed.", style="yellow")
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
            self.terminal.say(self.after_search["verdict"]["sentence"], style="bold")
            kept: list[dict[str, Any]] = self.after_search["retrained_models"]
            return kept

        outcome = self._retrain(finalists, stop)
        for finalist, reason in outcome.failures:
            self.terminal.warn(f"rank {finalist.rank} (trial {finalist.trial_number}) could not be retrained: {reason}")
        for each in outcome.done:
            for failure in each.failures:
                which = f"rank {each.finalist.rank} (trial {each.finalist.trial_number})"
                self.terminal.warn(f"{which} lacks a seed that failed: {failure}")
        if outcome.ended is not None or not outcome.done:
            why = outcome.ended.reason if outcome.ended is not None else "failures alone"
            self.terminal.say(f"Retraining ended by {why}; the test period stays closed.", style="yellow")
            return []
        return self._test(confirmed, outcome)

    def _retrain(self, finalists: Sequence[Finalist], stop: StopSignal) -> Retraining:
        """Trains the finalists on all training windows; what a run shows of it."""
        chosen, full_epochs = self.settings.retrain, self.settings.retrain.full_epochs

        def on_report(finalist: Finalist, seed: int, epochs: int) -> OnReport:
            fewer = f", {epochs} epochs so as to keep limits.retrain_seconds" if epochs < full_epochs else ""
            self.terminal.say(
                f"Retraining rank {finalist.rank} (trial {finalist.trial_number}) on all training windows, seed {seed} of"
                f" {chosen.seeds}{fewer} …"
            )

            def decide(report: ProgressReport) -> Decision:
                self.terminal.on_training(f"rank {finalist.rank}, seed {seed}", report, epochs)
                return Decision(Action.STOP, CTRL_C) if stop.interrupted else CONTINUE

            return decide

        with self.terminal.watch_training("Retraining"):
            return retrain(
                finalists,
                self.runner,
                self.dataset,
                full_epochs=full_epochs,
                max_gap_days=self.settings.data.max_gap_days,
                on_report=on_report,
                seeds=chosen.seeds,
                seconds_left=lambda: stop.seconds_left,
            )

    def _candidates(self, top_k: int) -> list[Candidate]:
        """The first ranks of the front, three for each model that is to be retrained, with their whole configurations."""
        space, front = self.study.plan.space, self.study.front()[: CONFIRMED_FROM_FRONT * top_k]
        return [
            Candidate(rank, record.number, with_fixed(space, record.params), record.values.score)
            for rank, record in enumerate(front, start=1)
            if record.values is not None
        ]

    def _confirm(self, stop: StopSignal) -> Confirmed:
        """Trains the candidates again with fresh seeds; what an interrupted run has done of it is not done again."""
        seeds = self.settings.retrain.confirm_seeds
        candidates = self._candidates(self.settings.retrain.top_k)
        stored: dict[str, list[float]] = self.study.storage.attribute("confirmations") or {}
        missing = sum(max(0, seeds - len(stored.get(str(each.trial_number), ()))) for each in candidates)
        if missing:
            self.terminal.say(
                f"Confirming the first {len(candidates)} of the front on validation, each with {counted(seeds, 'fresh seed')}"
                f" ({counted(missing, 'training')}) …"
            )

        def on_report(candidate: Candidate, seed: int) -> OnReport:
            def decide(report: ProgressReport) -> Decision:
                self.terminal.on_training(
                    f"trial {candidate.trial_number}, fresh seed {seed}", report, self.study.plan.max_epochs
                )
                return Decision(Action.STOP, CTRL_C) if stop.interrupted else CONTINUE

            return decide

        def on_score(candidate: Candidate, scores: list[float]) -> None:
            stored[str(candidate.trial_number)] = scores
            self.study.storage.set_attribute("confirmations", stored)

        left = stop.seconds_left
        with self.terminal.watch_training("Confirmation"):
            confirmed = confirm(
                candidates,
                self.runner,
                seeds=seeds,
                known={int(number): scores for number, scores in stored.items()},
                on_report=on_report,
                on_score=on_score,
                seconds_left=None if left is None else CONFIRMATION_SHARE * left,
            )
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
        save_models(self.settings.save_dir, outcome.done)
        openings = self._record_test_opening(outcome.done)
        verdict = evaluate_once(outcome.done, self.dataset, self.settings)
        entries = retrained_results(outcome.done, verdict, self.settings.save_dir)
        write_retrained(self.settings.save_dir, outcome.done, verdict, entries)
        self.after_search.update(
            {
                "confirmation": confirmation_results(confirmed),
                "retrained_models": entries,
                "retraining_failures": [
                    {"model_rank": finalist.rank, "trial_number": finalist.trial_number, "reason": reason}
                    for finalist, reason in outcome.failures
                ],
                "baselines": baseline_results(verdict),
                "verdict": verdict_results(verdict, outcome.done[0], openings=openings),
                "full_epochs": self.settings.retrain.full_epochs,
                "seeds": self.settings.retrain.seeds,
                "retrained_after_trials": self.study.n_finished(),
            }
        )
        self.terminal.show_verdict(verdict, outcome.done, opened=openings)
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
        return bool(entries) and before == now and alike

    def _record_test_opening(self, retrained: list[Retrained]) -> int:
        """Stores, before the test period is opened, that it will be; returns how often that has happened in this study."""
        openings = self.study.storage.attribute("test_openings") or []
        openings.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "trials": [each.finalist.trial_number for each in retrained],
            }
        )
        self.study.storage.set_attribute("test_openings", openings)
        return len(openings)
