"""Results of an earlier final phase: whether they are still valid, and the stored models for a new verdict about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnn_lstm_hyperopt.config import Settings, readable
from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.data.trades import TRADED
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.inference.ensemble import Ensemble
from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP
from cnn_lstm_hyperopt.pipeline.ensemble_weights import AUTO
from cnn_lstm_hyperopt.pipeline.results.model_folders import holds_ensemble, holds_model
from cnn_lstm_hyperopt.pipeline.results.training_record import SeedRecord, read_training_record
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained, Retraining, SeedRun, final_fold, fold_of
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.run_dir.paths import TRAINING_FILE, model_folder
from cnn_lstm_hyperopt.training import Evaluation, Outcome

EVALUATION = "evaluation"
"""Key of ``results.json`` with the settings of the evaluation on the test set."""
ENSEMBLE_METHOD = "ensemble_method"
"""Key of ``results.json`` with the method of the ensemble. Results of earlier versions lack it; their method is ``equal``."""


def evaluation_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings of the evaluation for ``results.json``. The verdict's metric is the name of a metric."""
    chosen = settings.evaluation.model_dump(mode="json", exclude={"baseline_seconds"})
    return {**chosen, "verdict_metric": settings.verdict_metric}


def ensemble_method(session: Session) -> EnsembleMethod:
    """Return the method of the ensemble. ``auto`` is the method of the stored results or, without results, the best one."""
    chosen = session.settings.retrain.ensemble
    if chosen != "auto":
        return chosen
    return _stored_method(session) if session.final.get("retrained_models") else AUTO


def _stored_method(session: Session) -> EnsembleMethod:
    return session.final.get(ENSEMBLE_METHOD) or "equal"


@dataclass(frozen=True)
class EarlierResults:
    """Results of an earlier final phase, compared with the finalists and settings of this run.

    Attributes:
        session: the open study, with the earlier results in ``session.final``.
        finalists: finalists of this run.
    """

    session: Session
    finalists: Sequence[Finalist]

    @property
    def have_these_models(self) -> bool:
        """True if the same configurations were already retrained and tested, and their folders are complete."""
        final, chosen, save_dir = self.session.final, self.session.settings.retrain, self.session.save_dir
        entries = final.get("retrained_models", [])
        failed = {failure["model_rank"] for failure in final.get("retraining_failures", [])}
        now = [(f.rank, readable(f.params)) for f in self.finalists if f.rank not in failed]
        before = [(entry["model_rank"], entry["config_params"]) for entry in entries]
        if not entries or before != now:
            return False
        if (final.get("full_epochs"), final.get("seeds")) != (chosen.full_epochs, chosen.seeds):
            return False
        if max(1, len(final.get("walk_forward") or ())) != self.session.dataset.n_periods:
            return False
        ensemble = final.get("ensemble")
        return all(holds_model(save_dir, entry) for entry in entries) and (
            not ensemble or holds_ensemble(save_dir, ensemble)
        )

    @property
    def changes(self) -> list[str]:
        """A text for each difference from the earlier run that affects the test results.

        A difference is another setting of the evaluation, another method of the ensemble, or a newly installed baseline.
        Results of earlier versions lack the settings, so only the verdict's metric and the own baselines are compared. Costs of
        trades affect only the strategy of the target ``direction``.
        """
        stored = self.session.final.get(EVALUATION) or {}
        metric = (self.session.final.get("verdict") or {}).get("metric")
        before = {"baselines": [], **(stored or ({} if metric is None else {"verdict_metric": metric}))}
        always = ("verdict_metric", "baselines")
        names = [name for name in before if self.session.dataset.target == TRADED or name in always]
        now = evaluation_settings(self.session.settings)
        skipped = [each["name"] for each in self.session.final.get("skipped_baselines", ())]
        added = [name for name in skipped if name in BASELINES and BASELINES[name].is_installed()]
        return (
            [
                f"{EVALUATION}.{name} is {now[name]}, but the stored results have {before[name]}"
                for name in names
                if name in now and now[name] != before[name]
            ]
            + self._changed_ensemble
            + [f"the baseline {name} is now installed, but the stored results lack it" for name in added]
        )

    @property
    def _changed_ensemble(self) -> list[str]:
        """A text if the ensemble has another method than the stored one."""
        now, before = ensemble_method(self.session), _stored_method(self.session)
        return [] if now == before else [f"retrain.ensemble is {now}, but the stored results have {before}"]

    def retraining(self) -> Retraining | None:
        """Return the stored models of the finalists as the result of a retraining.

        Return None if the models can't be evaluated again without a training: models of later periods of a walk-forward test
        are not stored, and an earlier version did not train on folds.
        """
        if self.session.dataset.n_periods > 1:
            return None
        final = self.session.final
        openings = self.session.study.storage.attribute("test_openings") or [{}]
        tested = {each["trial_number"]: each for each in openings[-1].get("models", ())}
        by_rank = {each.rank: each for each in self.finalists}
        done = []
        for entry in final["retrained_models"]:
            finalist = by_rank[entry["model_rank"]]
            registered = tested.get(finalist.trial_number, {})
            if registered.get("seeds") != [each["seed"] for each in entry["seeds"]]:
                return None
            folds = [fold_of(self.session.dataset, each["seed"]) for each in entry["seeds"]]
            if [each.get("fold") for each in entry["seeds"]] != [
                None if place is None else place + 1 for place in folds
            ]:
                return None  # an earlier version trained all seeds on the same windows
            runs = self._runs(entry, registered["epochs"])
            if runs is None:
                return None
            done.append(Retrained(finalist, runs, tuple(entry["seed_failures"])))
        failures = [(by_rank[each["model_rank"]], each["reason"]) for each in final.get("retraining_failures", ())]
        return Retraining(done, failures, None)

    def _runs(self, entry: dict[str, Any], epochs: Sequence[int]) -> tuple[SeedRun, ...] | None:
        """Return the runs of a stored model, from its folder and its entry of ``results.json``; None if it can't be read."""
        try:
            folder = model_folder(self.session.save_dir, entry["model_rank"])
            model = load_model(folder, tested=True)
            trained = read_training_record(folder) if (folder / TRAINING_FILE).is_file() else ()
        except SaveDirError:
            return None
        kept = entry["training_results"]
        networks = {kept["seed"]: model.network} if isinstance(model, SavedModel) else {}
        if isinstance(model, Ensemble) or kept["validation_loss"] is None:
            return None
        networks |= {each.seed: each.network for each in model.others}
        plain = replace(model, seed=0, others=(), conformal=None, temperature=1.0)
        records = {record.seed: record for record in trained}
        return tuple(
            self._run(replace(plain, network=networks[each["seed"]]), each, kept, most, records.get(each["seed"]))
            for each, most in zip(entry["seeds"], epochs, strict=True)
        )

    def _run(
        self, model: SavedModel, seed: dict[str, Any], kept: dict[str, Any], epochs: int, record: SeedRecord | None
    ) -> SeedRun:
        validation = final_fold(self.session.dataset, seed["seed"]).validation
        predictions = model.predict_windows(validation)
        accuracy = score("accuracy", validation.labels.numpy(), predictions.probabilities, predictions.decision_weights)
        if seed["seed"] == kept["seed"]:
            accuracy = kept["validation_accuracy"]
        cut_short = seed["seed"] == kept["seed"] and kept["cut_short_by"] is not None
        outcome = Outcome(
            best_epoch=kept["best_epoch"] if record is None else record.best_epoch,
            best=Evaluation(seed["validation_loss"], accuracy, None, predictions, seed["validation_score"]),
            epochs=kept["epochs"],
            seconds=seed["training_time"],
            projected_seconds=None,
            decision=Decision(Action.STOP, TIME_IS_UP) if cut_short else CONTINUE,
            losses=() if record is None else record.validation_losses,
        )
        fold = fold_of(self.session.dataset, seed["seed"])
        return SeedRun(seed["seed"], model, outcome, epochs, cut_short, fold)
