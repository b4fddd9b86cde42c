"""Area under the ROC curve.

With more than two classes, the metric is the mean of the areas of each class against all other classes.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import Floats, Labels, Metric, Probabilities, mean_of_known, ratio


class Auc(Metric):
    """Area under the ROC curve; undefined on windows of a single class."""

    name, place = "auc", 3
    description = "area under the ROC curve"
    label, article = "AUC", "an"
    hub_name = "roc_auc"
    score_range = (0.0, 1.0)
    small_gain = 0.028
    """Gain in AUC of p = 52 % correct predictions: Φ(√2 Φ⁻¹(p)) − ½, for normally distributed predictions in both classes."""
    needs_two_classes = True
    measured = "AUC"
    digits = ".3f"

    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        areas = [_Ranking.of(labels == c, probabilities[:, c]).area(weights) for c in _classes(probabilities)]
        return mean_of_known(np.stack(areas, axis=-1))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return 1/2 and its standard error √((n₁ + n₀ + 1) / (12 n₁ n₀)), with n₁ and n₀ windows of the two classes.

        The formula is from Mann & Whitney (1947). With more classes, the mean of the errors for each class against all others is
        returned, and this mean is an upper bound of the error of the mean area.
        """
        rest = counts.sum() - counts
        errors = np.sqrt((counts + rest + 1) * overlap / (12 * counts * rest))
        return 0.5, float(errors.mean())

    def influence(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Return the influence of each window on the score, from the window's placement (DeLong, DeLong & Clarke-Pearson 1988).

        The placement of a window is the share of the other class's windows that are ranked correctly relative to this window.
        """
        found = [
            _of_one_area(labels == c, probabilities[:, c])
            for c in _classes(probabilities)
            if 0 < np.count_nonzero(labels == c) < len(labels)
        ]
        return np.asarray(np.mean(found, axis=0))

    def block_statistics(
        self, labels: Labels, probabilities: Probabilities, block: NDArray[np.int64], n_blocks: int
    ) -> Floats:
        """Return the number of correctly ranked pairs and the number of all pairs, ``(blocks, blocks, areas, 2)``.

        A pair is one window of a class in the first block, and one window of another class in the second block. A pair with equal
        probabilities counts as half a correctly ranked pair.
        """
        pairs = np.zeros((n_blocks, n_blocks, len(_classes(probabilities)), 2))
        for area, c in enumerate(_classes(probabilities)):
            positive, probability = labels == c, probabilities[:, c]
            ones, block_of_one = probability[positive], block[positive]
            n_ones = np.bincount(block_of_one, minlength=n_blocks)
            for other in range(n_blocks):
                zeros = np.sort(probability[~positive & (block == other)])
                beaten = (np.searchsorted(zeros, ones, "left") + np.searchsorted(zeros, ones, "right")) / 2
                pairs[:, other, area, 0] = np.bincount(block_of_one, weights=beaten, minlength=n_blocks)
                pairs[:, other, area, 1] = n_ones * len(zeros)
        return pairs

    def block_scores(self, statistics: Floats, chosen: Floats) -> Floats:
        totals = np.einsum("sa,sb,pabcn->spcn", chosen, chosen, statistics, optimize=True)
        return mean_of_known(ratio(totals[..., 0], totals[..., 1]))

    def n_windows(self, labels: Labels) -> float:
        """Return the effective number of windows, the size of a set with equally frequent classes that is equally informative.

        The size is C² / Σ 1/n_c, with C classes and n_c windows of class c.
        """
        counts = np.bincount(labels)
        counts = counts[counts > 0]
        return float(len(counts) ** 2 / (1 / counts).sum())


def _classes(probabilities: Probabilities) -> range:
    n_classes = probabilities.shape[1]
    return range(1, 2) if n_classes == 2 else range(n_classes)


class _Ranking(NamedTuple):
    """Windows ordered by the probability of a class.

    Attributes:
        ones: positions of the windows of the class, in the order of increasing probability.
        zeros: positions of all other windows, in the order of increasing probability.
        below: for each window in ``ones``, the number of windows in ``zeros`` with a lower probability.
        tied: positions in ``ones`` of the windows that have the same probability as a window in ``zeros``.
        up_to: for each window in ``tied``, the number of windows in ``zeros`` with the same or a lower probability.
    """

    ones: NDArray[np.int64]
    zeros: NDArray[np.int64]
    below: NDArray[np.int64]
    tied: NDArray[np.int64]
    up_to: NDArray[np.int64]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], probability: Probabilities) -> "_Ranking":
        order = np.argsort(probability, kind="stable")
        ones, zeros = order[positive[order]], order[~positive[order]]
        below = np.searchsorted(probability[zeros], probability[ones], side="left")
        up_to = np.searchsorted(probability[zeros], probability[ones], side="right")
        tied = np.flatnonzero(below != up_to)
        return cls(ones, zeros, below, tied, up_to[tied])

    def area(self, weights: Floats) -> Floats:
        """Return the weighted share of pairs in which the window of the class has the higher probability; ties count half.

        A pair has one window of ``ones`` and one window of ``zeros``. The shape of ``weights`` is ``(…, windows)``.
        """
        # Window-major order in memory: indexing rows is several times faster than indexing single numbers.
        by_window = np.ascontiguousarray(np.moveaxis(weights, -1, 0))
        passed = np.zeros((len(self.zeros) + 1, *weights.shape[:-1]))
        np.cumsum(by_window[self.zeros], axis=0, out=passed[1:])
        beaten = passed[self.below]
        beaten[self.tied] = (beaten[self.tied] + passed[self.up_to]) / 2
        of_ones = by_window[self.ones]
        pairs = of_ones.sum(axis=0) * passed[-1]
        return ratio(np.einsum("i...,i...->...", of_ones, beaten), pairs)


def _of_one_area(positive: NDArray[np.bool_], probability: Probabilities) -> Floats:
    influence = np.empty(len(probability))
    for side, sign in ((positive, 1.0), (~positive, -1.0)):
        others, own = np.sort(probability[~side]), probability[side]
        below = np.searchsorted(others, own, side="left") + np.searchsorted(others, own, side="right")
        placements = sign * below / (2 * len(others))
        size = len(placements)
        unbiased = math.sqrt(size / (size - 1)) if size > 1 else 1.0
        influence[side] = (placements - placements.mean()) * unbiased * len(probability) / size
    return influence
