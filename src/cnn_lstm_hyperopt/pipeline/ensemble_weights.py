"""Weights of the candidates of an ensemble: equal, selected greedily, or stacked. Validation windows decide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.data.splits import spread_positions
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence
from cnn_lstm_hyperopt.evaluation.stacking import stacked_pool, stacked_values
from cnn_lstm_hyperopt.evaluation.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE
from cnn_lstm_hyperopt.inference.ensemble import LINEAR, LOGARITHMIC, ROUNDS, Pooling, mean_of, pool_of, select
from cnn_lstm_hyperopt.metrics import if_defined
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.pipeline.recommendation import gain_on
from cnn_lstm_hyperopt.training import Predictions, ValueScale

Floats = NDArray[np.float64]
EQUAL, SELECTED, STACKED = "equal", "selected", "stacked"
"""Kinds of weights: half of the weight for all networks and half for all baselines, weights selected greedily, or weights of a
penalised regression."""
AUTO: EnsembleMethod = "stack"
"""Method that ``auto`` stands for in a new final phase: the one with the lowest mean log loss in benchmarks/ensembles.py."""
_MAX_WINDOWS = 20_000
"""Maximum number of windows, evenly spread, that fit stacked weights."""
_MIN_SHARE = 0.001
"""Members with a smaller stacked weight are left out."""
_MIN_UNITS = 10
"""Minimum number of independent units of the validation set for each candidate of a stacked ensemble.

This is the usual minimum for each coefficient of a logistic regression (Peduzzi et al. 1996, "A simulation study of the number of
events per variable in logistic regression analysis").
"""


@dataclass(frozen=True)
class Weighting:
    """Weights of all candidates.

    Attributes:
        kind: :data:`EQUAL`, :data:`SELECTED` or :data:`STACKED`.
        weights: ``(candidates,)``, which add up to 1.
        value_weights: ``(candidates,)`` weights of the values; None: values have the same weights as probabilities.
        value_mean: mean of the target, from which the values' distances are weighted with ``value_weights``.
        temperature: temperature that the regression gives; None: it is still to be fitted.
    """

    kind: str
    weights: Floats
    value_weights: Floats | None = None
    value_mean: float = 0.0
    temperature: float | None = None

    @property
    def pooling(self) -> Pooling:
        """How the probabilities are combined."""
        return LOGARITHMIC if self.kind == STACKED else LINEAR

    @property
    def order(self) -> list[int]:
        """Positions of the members, the largest weight first."""
        return [place for place in np.argsort(-self.weights, kind="stable").tolist() if self.weights[place] > 0]

    @property
    def of_members(self) -> list[tuple[int, float, float | None]]:
        """Position, weight and weight of the values of each member, the largest weight first."""
        values = self.value_weights
        return [
            (place, float(self.weights[place]), None if values is None else float(values[place]))
            for place in self.order
        ]

    def combined(self, said: Sequence[Predictions]) -> Predictions:
        """Return the combined predictions, from the predictions of all candidates."""
        chosen = [said[place] for place in self.order]
        weights = [float(self.weights[place]) for place in self.order]
        if self.pooling == LINEAR:
            return mean_of(chosen, weights)
        values = [] if self.value_weights is None else [float(self.value_weights[place]) for place in self.order]
        return pool_of(chosen, weights, values, self.value_mean)

    def shared(self, groups: Sequence[int | None]) -> "Weighting":
        """Return the weights with the mean weight of each group for its candidates. Candidates without a group keep theirs."""
        values = None if self.value_weights is None else _shared(self.value_weights, groups)
        return replace(self, weights=_shared(self.weights, groups), value_weights=values)


@dataclass(frozen=True, eq=False)
class Weigher:
    """Rule that gives weights to candidates.

    With the method ``equal``, the weights are equal, unless selected weights are better on validation beyond chance: weights that
    are estimated from few data are often worse than equal weights (Smith & Wallis 2009, "A Simple Explanation of the Forecast
    Combination Puzzle"). The networks were chosen from all trials on the same windows, so "beyond chance" means an interval with
    the level 1 − 0.05 / ``n_trials`` (Bonferroni). With too few windows for an interval, the weights are selected.

    The method ``stack`` needs at least ``_MIN_UNITS`` independent units of the validation set for each candidate. With fewer
    units, the method is ``equal``, except that with too few windows for an interval the weights are equal.

    Attributes:
        method: ``stack``, ``greedy`` or ``equal``.
        validation: labelled windows for which the candidates' predictions are known.
        metric: metric that decides between equal and selected weights, and that selects weights.
        horizon: number of bars that a label looks ahead.
        n_trials: number of trials from which the search chose the networks.
        value_scale: scale of the regression target; None without regression.
    """

    method: EnsembleMethod
    validation: Windows
    metric: str
    horizon: int
    n_trials: int
    value_scale: ValueScale | None = None

    def weights(self, said: Sequence[Predictions], n_networks: int) -> Weighting:
        """Return the weights of candidates.

        Args:
            said: predictions of each candidate for the validation windows, first of all networks, then of all baselines.
            n_networks: number of networks.
        """
        equal = equal_weights(n_networks, len(said) - n_networks)
        dependence = Dependence.of(self.validation, horizon=self.horizon)
        overlapping = 1 if dependence.kind == "groups" else dependence.horizon
        if self.method == "stack" and dependence.n_units / overlapping >= _MIN_UNITS * len(said):
            return self._stacked(said, equal, dependence)
        if self.method == "stack" and dependence.too_few is not None:
            return Weighting(EQUAL, equal)
        selected = self._selected(said)
        if self.method == "greedy":
            return Weighting(SELECTED, selected)
        ours, theirs = (Weighting(SELECTED, each).combined(said).as_scored(self.metric) for each in (selected, equal))
        gain = gain_on(self.validation, ours, theirs, self.metric, self.horizon, comparisons=self.n_trials)
        clear = gain is None or gain[0] > 0
        return Weighting(SELECTED, selected) if clear else Weighting(EQUAL, equal)

    def score_without(self, weighting: Weighting, said: Sequence[Predictions], place: int) -> float:
        """Return the score by the metric if one of several members is left out; minus infinity if undefined."""
        weights = weighting.weights.copy()
        weights[place] = 0
        found = self._score(replace(weighting, weights=weights / weights.sum()).combined(said))
        return -np.inf if found is None else found

    def _selected(self, said: Sequence[Predictions]) -> Floats:
        labels, decision = self.validation.labels.numpy(), said[0].decision_weights
        library = np.stack([each.probabilities for each in said])

        def selected_in(rounds: int) -> Floats:
            return select(library, labels, lambda truth, mean: metric_score(self.metric, truth, mean, decision), rounds)

        selected = selected_in(ROUNDS)
        best = max((each for each in map(self._score, said) if each is not None), default=None)
        reached = self._score(Weighting(SELECTED, selected).combined(said))
        if reached is not None and best is not None and reached < best:
            return selected_in(1)  # rounding to float32 can change the winner of two tied classes
        return selected

    def _stacked(self, said: Sequence[Predictions], equal: Floats, every: Dependence) -> Weighting:
        """Return stacked weights. Their sum before they are normalised is the reciprocal of the temperature."""
        rows = spread_positions(len(self.validation), _MAX_WINDOWS)
        dependence = replace(every, unit=every.unit[rows])
        library = np.stack([each.probabilities[rows] for each in said])
        found, _ = stacked_pool(self.validation.labels.numpy()[rows], library, equal, dependence)
        total = found.sum()
        weights = found / total if total > _MIN_SHARE else equal  # no model is better than equal probabilities
        weights = np.where(weights < _MIN_SHARE, 0.0, weights)
        weights /= weights.sum()
        temperature = float(np.clip(1 / max(total, _MIN_SHARE), MIN_TEMPERATURE, MAX_TEMPERATURE))
        values = [each.values[rows] for each in said if each.values is not None]
        if self.validation.values is None or self.value_scale is None or len(values) < len(said):
            return Weighting(STACKED, weights, temperature=temperature)
        mean, std, chosen = self.value_scale.mean, self.value_scale.std, weights > 0
        targets = (self.validation.values.numpy()[rows].astype(np.float64) - mean) / std
        standard = (np.stack(values).astype(np.float64) - mean) / std
        value_weights = np.zeros(len(said))
        prior = equal[chosen] / equal[chosen].sum()
        value_weights[chosen] = stacked_values(targets, standard[chosen], prior, dependence)
        return Weighting(STACKED, weights, value_weights, mean, temperature)

    def _score(self, predictions: Predictions) -> float | None:
        labels = self.validation.labels.numpy()
        return if_defined(metric_score(self.metric, labels, predictions.probabilities, predictions.decision_weights))


def equal_weights(n_networks: int, n_baselines: int) -> Floats:
    """Return weights ``(networks + baselines,)``. All networks together have one half, and all baselines together the other half.

    Both halves are divided equally. Without baselines, the networks have the whole weight, and without networks the baselines.
    """
    half = 0.5 if n_networks and n_baselines else 1.0
    counts = [each for each in (n_networks, n_baselines) if each]
    return np.concatenate([np.full(each, half / each) for each in counts])


def _shared(weights: Floats, groups: Sequence[int | None]) -> Floats:
    means = {each: np.mean([w for w, of in zip(weights, groups, strict=True) if of == each]) for each in groups}
    return np.array([w if of is None else means[of] for w, of in zip(weights, groups, strict=True)])
