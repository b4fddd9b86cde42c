"""Ensemble of the best finalists with all seeds and of linear baselines, with weights that validation decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.inference.ensemble import Ensemble, Member
from cnn_lstm_hyperopt.inference.temperature import Calibrated, scaled
from cnn_lstm_hyperopt.metrics import if_defined
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.pipeline.calibration import HeldOut, joined, sets_on, temperature_on
from cnn_lstm_hyperopt.pipeline.ensemble_limits import NO_LIMITS, EnsembleLimits, Kept
from cnn_lstm_hyperopt.pipeline.ensemble_weights import AUTO, Weigher, Weighting
from cnn_lstm_hyperopt.pipeline.linear_members import LinearMember, linear_members
from cnn_lstm_hyperopt.pipeline.recommendation import finalists_are_separated
from cnn_lstm_hyperopt.pipeline.retraining import Retrained, SeedRun
from cnn_lstm_hyperopt.training import Predictions, ValueScale

Floats = NDArray[np.floating]
Place = tuple[int, int]
"""Position of a finalist, and position of a training among the finalist's runs."""


@dataclass(frozen=True)
class Blend:
    """Ensemble of retrained models and its validation scores.

    Attributes:
        ensemble: the ensemble of the models with positive weights. The member with the largest weight is first.
        places: for each member, the position of its finalist and the position of its training among the finalist's runs; None
            for a baseline.
        validation_score: the study's metric on the validation windows before temperature scaling; None if undefined. This score
            is too high on average, because the same windows selected the ensemble.
        best_member_validation_score: score of the best single model on the validation windows, also too high on average.
        selected_by: metric that decides between the kinds of weights and selects weights.
        weighting: kind of the weights, such as :data:`.EQUAL`.
        selection_score: score of the ensemble by this metric on the validation windows; None if undefined.
        best_member_selection_score: score of the best single model by this metric on the validation windows.
        seconds: training time of all members in seconds.
        validation: predictions of the ensemble for the validation windows.
        latency_ms: measured milliseconds for one window; None if no bound is set.
        recommended: whether the ensemble is recommended instead of model 1.
    """

    ensemble: Ensemble
    places: tuple[Place | None, ...]
    validation_score: float | None
    best_member_validation_score: float | None
    selected_by: str
    weighting: str
    selection_score: float | None
    best_member_selection_score: float | None
    seconds: float
    validation: Calibrated
    latency_ms: float | None = None
    recommended: bool = False

    def mean(self, predictions: Sequence[Sequence[Predictions]], windows: Windows) -> Calibrated:
        """Return the predictions of the ensemble for windows.

        Args:
            predictions: for each finalist, the predictions of each of its runs.
            windows: the windows, scaled for the baselines of the ensemble.
        """
        members = self.ensemble.members
        chosen = [
            each.model.predict_windows(windows) if place is None else predictions[place[0]][place[1]]
            for each, place in zip(members, self.places, strict=True)
        ]
        mean = self.ensemble.combined(chosen)
        return Calibrated(mean, scaled(mean, self.ensemble.temperature))


def blended(
    retrained: Sequence[Retrained],
    known: HeldOut,
    dataset: Dataset,
    settings: Settings,
    n_trials: int,
    method: EnsembleMethod = AUTO,
    on_note: Callable[[str], None] = lambda text: None,
) -> Blend | None:
    """Return the ensemble of retrained models and linear baselines for a dataset; see :func:`blend`.

    With the method ``none``, there is no ensemble. ``on_note`` is called with a line if bounds leave out candidates. Trials of
    ``retrain.also`` are no candidates: they may be weak, such as the fastest trial of the front.
    """
    best = [each for each in retrained if each.finalist.rank <= settings.retrain.top_k]  # in order of rank
    if method == "none" or not best:
        return None
    of_runs = known.of_runs[: len(best)]
    found = blend(
        best,
        of_runs,
        known.windows,
        settings.study.metric,
        selected_by=settings.verdict_metric,
        method=method,
        horizon=dataset.horizon,
        baselines=fitted_baselines(known, dataset, settings),
        alike=bool(known.folds),
        n_trials=n_trials,
        value_scale=ValueScale(dataset.value_mean, dataset.value_std) if dataset.has_regression else None,
        limits=EnsembleLimits(settings.constraints.size_mb, settings.constraints.latency_ms, on_note),
    )
    if found is None:
        return None
    judged = replace(dataset, validation=known.windows)
    separated = finalists_are_separated(best, of_runs, judged, settings.verdict_metric)
    return replace(found, recommended=not separated)


def fitted_baselines(known: HeldOut, dataset: Dataset, settings: Settings) -> dict[LinearMember, Predictions]:
    """Return the linear baselines of a dataset with their predictions for the held-out windows.

    With folds, baselines of the training windows of each fold predict the windows that this fold holds out.
    """

    def fitted(on: Dataset) -> Sequence[LinearMember]:
        return linear_members(
            on,
            seed=settings.study.seed,
            max_gap_days=settings.data.max_gap_days,
            decision_weights=known.of_runs[0][0].decision_weights,
        )

    members = fitted(dataset)
    if not known.folds:
        return {each: each.model.predict_windows(known.windows) for each in members}
    forecasts: dict[str, list[Predictions]] = {each.name: [] for each in members}
    for fold in (dataset.folds[place] for place in known.folds):
        for each in fitted(replace(dataset, train=fold.train, validation=fold.validation)):
            forecasts.setdefault(each.name, []).append(each.model.predict_windows(fold.validation))
    complete = [each for each in members if len(forecasts[each.name]) == len(known.folds)]
    return {each: joined(forecasts[each.name]) for each in complete}


def blend(
    retrained: Sequence[Retrained],
    predictions: Sequence[Sequence[Predictions]],
    validation: Windows,
    metric: str,
    *,
    selected_by: str,
    method: EnsembleMethod = AUTO,
    horizon: int = 1,
    baselines: Mapping[LinearMember, Predictions] = MappingProxyType({}),
    alike: bool = False,
    n_trials: int = 1,
    value_scale: ValueScale | None = None,
    limits: EnsembleLimits = NO_LIMITS,
) -> Blend | None:
    """Return an ensemble of the retrained models and baselines.

    Return None if there are not two networks, or no two candidates that keep the bounds.

    The ensemble depends only on the models and the windows. So a resumed run has the same ensemble. The
    temperature of the ensemble is fitted last (mean first, then calibration: Rahaman & Thiery 2021, NeurIPS); stacking fits it
    with the weights.

    Args:
        retrained: finalists in order of rank.
        predictions: for each finalist, the predictions of each of its runs for the validation windows.
        validation: the validation windows, on which the ensemble is selected and calibrated.
        metric: name of the study's metric.
        selected_by: name of the metric that selects the ensemble.
        method, n_trials, value_scale: see :class:`.Weigher`.
        horizon: number of bars that a label looks ahead.
        baselines: fitted baselines, which may be members like the models, with their predictions for the validation windows.
        alike: whether all runs of a finalist have the same predictions. Then all its runs get equal weights.
        limits: bounds on the costs of the ensemble.
    """
    library = _Library.of(retrained, predictions, baselines, alike=alike)
    if sum(place is not None for place in library.places) < 2:
        return None
    weigher = Weigher(method, validation, selected_by, horizon, n_trials, value_scale)
    kept = limits.kept(
        library.members,
        lambda places: library.weighting(places, weigher),
        lambda weighting, places, place: weigher.score_without(
            weighting, [library.said[each] for each in places], place
        ),
    )
    if kept is None:
        return None
    return _blend(library, kept, weigher, metric)


def _blend(library: "_Library", kept: Kept, weigher: Weigher, metric: str) -> Blend:
    """Return the ensemble of the kept candidates with its temperature, prediction sets and validation scores."""
    validation, selected_by = weigher.validation, weigher.metric
    mean = kept.weighting.combined([library.said[place] for place in kept.places])
    temperature = kept.weighting.temperature or temperature_on(validation, mean, weigher.horizon)
    scores = _Scores(validation.labels.numpy(), mean.decision_weights)
    order = [kept.places[place] for place in kept.weighting.order]
    members = tuple(
        replace(library.members[kept.places[place]], weight=weight, value_weight=value)
        for place, weight, value in kept.weighting.of_members
    )
    conformal = sets_on(validation, mean, temperature)
    return Blend(
        Ensemble(members, conformal=conformal, temperature=temperature, pooling=kept.weighting.pooling),
        tuple(library.places[place] for place in order),
        scores.of(metric, mean.probabilities),
        scores.best_of(metric, library.said),
        selected_by,
        kept.weighting.kind,
        scores.of(selected_by, mean.probabilities),
        scores.best_of(selected_by, library.said),
        sum(library.seconds[place] for place in order),
        Calibrated(mean, scaled(mean, temperature)),
        kept.latency_ms,
    )


@dataclass(frozen=True, eq=False)
class _Library:
    """Candidates of an ensemble: first the networks of the finalists with all seeds, then the baselines.

    Attributes:
        members: the candidates as members, with any weight.
        places: for each candidate, the position of its finalist and of its training; None for a baseline.
        said: predictions of each candidate for the validation windows.
        seconds: training time of each candidate in seconds.
        alike: whether all runs of a finalist have the same predictions and so get equal weights.
    """

    members: list[Member]
    places: list[Place | None]
    said: list[Predictions]
    seconds: list[float]
    alike: bool

    @classmethod
    def of(
        cls,
        retrained: Sequence[Retrained],
        predictions: Sequence[Sequence[Predictions]],
        baselines: Mapping[LinearMember, Predictions],
        *,
        alike: bool,
    ) -> "_Library":
        """Return all candidates; see :func:`blend`."""
        networks = [(rank, run) for rank, of in enumerate(retrained) for run in range(len(of.runs))]
        members = [_member(each, run) for each in retrained for run in each.runs]
        members += [Member(each.model, 1.0, baseline=each.name) for each in baselines]
        seconds = [run.outcome.seconds for each in retrained for run in each.runs] + [
            each.seconds for each in baselines
        ]
        said = [each for runs in predictions for each in runs] + list(baselines.values())
        return cls(members, [*networks, *[None] * len(baselines)], said, seconds, alike)

    def weighting(self, kept: Sequence[int], weigher: Weigher) -> Weighting:
        """Return the weights of the candidates at these positions."""
        finalists = [None if (place := self.places[each]) is None else place[0] for each in kept]
        n_networks = sum(each is not None for each in finalists)
        found = weigher.weights([self.said[each] for each in kept], n_networks)
        return found.shared(finalists) if self.alike else found


@dataclass(frozen=True)
class _Scores:
    """Scores on labelled windows with the decision weights of a study; None if undefined."""

    labels: NDArray[np.int64]
    decision_weights: Floats | None

    def of(self, metric: str, probabilities: Floats) -> float | None:
        return if_defined(metric_score(metric, self.labels, probabilities, self.decision_weights))

    def best_of(self, metric: str, models: Sequence[Predictions]) -> float | None:
        """Return the best score of a single model."""
        known = (self.of(metric, each.probabilities) for each in models)
        return max((each for each in known if each is not None), default=None)


def _member(each: Retrained, run: SeedRun) -> Member:
    return Member(run.model, 1.0, each.finalist.rank, each.finalist.trial_number, run.seed)
