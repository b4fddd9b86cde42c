"""Walk-forward test: before each later period of the test set, the finalists are trained again.

Then the finalists predict the period.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.calibration import calibrated, held_out
from cnn_lstm_hyperopt.pipeline.earlier_results import ensemble_method
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend, blended
from cnn_lstm_hyperopt.pipeline.periods import KeptModel, PeriodPredictions
from cnn_lstm_hyperopt.pipeline.resume_state import ResumeState
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained, SeedRun, SeedState, SeedTraining
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.progress import Decision, OnReport
from cnn_lstm_hyperopt.training import Predictions


@dataclass(frozen=True)
class _Fit:
    """A trained model, and the number of the period for which it was trained."""

    run: SeedRun
    period: int


@dataclass(frozen=True)
class Refits:
    """Trainings of the finalists before each period of the test set, except the first period.

    A finalist keeps its configuration and its seeds. A finalist is trained with early stopping on the period's training and
    validation windows. If a training fails, the model of an earlier period with the same seed predicts the period.

    Attributes:
        session: the open study, whose dataset has the periods.
        state: stored state of each training, from which a resumed run continues.
        stop: object that interrupts the trainings. All remaining trainings share its remaining seconds.
        checkpoints: folder of the checkpoints.
        listener: function that creates the progress listener of a training. The arguments of the function are the training's
            name and maximum number of epochs.
    """

    session: Session
    state: ResumeState
    stop: StopSignal
    checkpoints: Path
    listener: Callable[[str, int], OnReport]

    def run(self, first: Sequence[Retrained], found: Blend | None) -> list[PeriodPredictions] | Decision:
        """Train the finalists before each period after the first, and predict these periods.

        If the trainings ended early, the decision that ended them is returned.

        Args:
            first: finalists that were trained for the first period.
            found: ensemble of the finalists; None if there is no ensemble. For each period, an ensemble is selected on the
                period's own validation windows.

        Raises:
            OSError: a checkpoint can't be stored.
        """
        session = self.session
        fits = [[_Fit(run, 1) for run in each.runs] for each in first]
        finalists, ensemble, members, selected = list(first), found, fits, 1
        predicted = []
        for number in range(2, session.dataset.n_periods + 1):
            dataset = session.dataset.period(number)
            session.events.on_period_start(number, session.dataset.n_periods)
            trained = self._fits(first, fits, number, dataset)
            if isinstance(trained, Decision):
                return trained
            fits, kept = trained
            windows = {number: dataset.test.open()}
            for earlier in {selected, *(fit.period for runs in (*fits, *members) for fit in runs)} - {number}:
                windows[earlier] = session.dataset.period(number, scaled_as=earlier).test.open()
            models = _predictions(fits, windows)
            mixed = {each.model_rank for each in kept}  # with models of two scales: they keep the temperature
            finalists = [
                replace(each, runs=tuple(fit.run for fit in runs)) for each, runs in zip(finalists, fits, strict=True)
            ]
            known = held_out(finalists, dataset)
            finalists = [
                each if each.finalist.rank in mixed else self._calibrated(each, said, dataset)
                for each, said in zip(finalists, known.of_runs, strict=True)
            ]
            if not kept:
                n_trials, method = session.study.n_finished(), ensemble_method(session)
                again = ensemble and blended(finalists, known, dataset, session.settings, n_trials, method)
                if (
                    again is not None or ensemble is None
                ):  # else no two models keep the bounds: the earlier ensemble predicts
                    ensemble, members, selected = again, fits, number
            mean = None if ensemble is None else ensemble.mean(_predictions(members, windows), windows[selected])
            means = [each.mean(said) for each, said in zip(finalists, models, strict=True)]
            predicted.append(PeriodPredictions(number, models, means, mean, tuple(kept)))
        return predicted

    @staticmethod
    def _calibrated(each: Retrained, predictions: Sequence[Predictions], dataset: Dataset) -> Retrained:
        """Return the finalist with a temperature fitted on the period's validation windows.

        Args:
            each: finalist with the runs of the period.
            predictions: predictions of each of these runs for the validation windows.
            dataset: dataset of the period.
        """
        new = replace(each, temperature=1.0, conformal=None)
        mean = new.mean(predictions).before
        return calibrated(new, mean, dataset.validation, dataset.horizon)

    def _fits(
        self, first: Sequence[Retrained], earlier: Sequence[Sequence[_Fit]], number: int, dataset: Dataset
    ) -> tuple[list[list[_Fit]], list[KeptModel]] | Decision:
        """Train all finalists for a period. If a training fails, the model of an earlier period is kept."""
        fits: list[list[_Fit]] = []
        kept: list[KeptModel] = []
        of = self.session.dataset.n_periods
        n_models = sum(len(each.runs) for each in first)
        missing = (of - number + 1) * n_models
        for each, runs in zip(first, earlier, strict=True):
            fits.append([])
            for fit in runs:
                trained = self._train(each.finalist, fit.run.seed, number, dataset, missing)
                missing -= 1
                match trained:
                    case SeedRun():
                        fits[-1].append(_Fit(trained, number))
                    case str():
                        kept.append(KeptModel(each.finalist.rank, fit.run.seed, fit.period, trained))
                        self.session.events.on_warning(
                            f"rank {each.finalist.rank}, seed {fit.run.seed} could not be trained for period {number} of {of}:"
                            f" {trained}; its model of period {fit.period} predicts this period"
                        )
                        fits[-1].append(fit)
                    case Decision():
                        return trained
        return fits, kept

    def _train(
        self, finalist: Finalist, seed: int, number: int, dataset: Dataset, missing: int
    ) -> SeedRun | str | Decision:
        """Train a finalist with one seed for a period.

        ``missing`` is the number of trainings that share the remaining seconds.
        """
        session, stop = self.session, self.stop
        settings, of = session.settings, session.dataset.n_periods

        def on_seed_state(finalist: Finalist, seed: int, seed_state: SeedState) -> None:
            self.state.save_time(stop.seconds_left)
            self.state.save_seed_state(finalist, seed, seed_state, period=number)

        budget = None if stop.seconds_left is None else stop.seconds_left / missing
        training = SeedTraining(
            session.runner, dataset, finalist, seed, self.checkpoints, on_seed_state, period=(number, of)
        )
        known = self.state.seed_states.get((finalist.trial_number, seed, number))
        seed_state = training.decide(known, settings.retrain.full_epochs, budget)
        which = f"period {number} of {of}, rank {finalist.rank}, seed {seed}"
        return seed_state.failure or training.run(
            seed_state, budget, self.listener(which, seed_state.epochs), settings.data.max_gap_days
        )


def _predictions(fits: Sequence[Sequence[_Fit]], windows: dict[int, Windows]) -> list[list[Predictions]]:
    """Return the predictions of each model for a period's windows. The windows are scaled as in the model's own training."""
    return [[fit.run.model.predict_windows(windows[fit.period]) for fit in runs] for runs in fits]
