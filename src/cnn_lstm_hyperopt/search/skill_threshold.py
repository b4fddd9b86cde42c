"""The skill threshold: the score that a trial must exceed to beat chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.metrics import METRICS

Labels = NDArray[np.int64]
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class SkillThreshold:
    """A score two standard errors above the score of the best constant prediction.

    A model that always predicts the majority class can be the smallest and fastest model, so that no trial dominates it. Without
    the threshold, trials with such models would fill the front and never be pruned.

    Attributes:
        chance: validation score of the best constant prediction; for accuracy, the share of the majority class.
        n_validation: number of validation windows.
        overlap: number of windows that contain as much information as one independent window. This is the product of the horizon,
            since labels within a horizon share bars, and the design effect of grouped labels.
        metric: name of the score's metric.
        error: standard error of a score at chance, which is used for all scores. If None, the error is computed from the score
            and ``n_validation``.
        dependence: factor by which dependence between dates and symbols increases the variance of the score at chance. Only the
            threshold depends on this factor. The factor is 1 in studies of earlier versions.
    """

    chance: float
    n_validation: int
    overlap: float = 1
    metric: str = "accuracy"
    error: float | None = None
    dependence: float = 1.0

    def __post_init__(self) -> None:
        if self.error is None and METRICS[self.metric].fixed_error:
            raise ValueError(
                f"a skill threshold of {self.metric} needs an error, which depends on the labels: make it with SkillThreshold.on"
            )

    @classmethod
    def on(
        cls,
        metric: str,
        folds: Sequence[Labels],
        *,
        overlap: float = 1,
        n_windows: int | None = None,
        dependence: float = 1.0,
    ) -> "SkillThreshold":
        """Return the skill threshold of a study whose score is the mean over folds.

        Let fold k of K folds have n_k windows. The mean of the K scores has the variance of one score on K² / Σ 1/n_k windows;
        with folds of equal size, this is the number of all windows. Windows in several folds (combinatorial folds) count once.

        Args:
            metric: metric of the study.
            folds: validation labels of each fold, each ``(windows,)``.
            overlap: number of windows that contain as much information as one independent window.
            n_windows: number of different windows in all folds; None if no window is in two folds.
            dependence: factor by which dependence between dates and symbols increases the variance of a score at chance.

        Raises:
            ValueError: the metric is not defined on a fold, see :func:`undefined_in`.
        """
        sizes = [len(labels) for labels in folds]
        repeats = 1.0 if n_windows is None else sum(sizes) / n_windows
        alike = len(folds) ** 2 / sum(1 / size for size in sizes)
        chance, error = no_skill(metric, folds, overlap * repeats)
        fixed = error if METRICS[metric].fixed_error else None
        return cls(chance, max(1, round(alike / repeats)), overlap, metric, fixed, dependence)

    @classmethod
    def from_stored(cls, stored: Any, shown: str) -> "SkillThreshold":
        """Return the skill threshold in the study attribute ``skill_gate``; ``shown`` is the name of the database.

        Raises:
            SaveDirError: the attribute is not a skill threshold.
        """
        try:
            skill = cls(**stored)
            _ = skill.passes(0.0), skill.score_range  # fails unless the metric is known and the fields are numbers
        except (TypeError, ValueError, LookupError) as error:
            text = f"{shown} is damaged: its attribute skill_gate is not a skill threshold; choose another --save-dir"
            raise SaveDirError(text, field="skill_gate", code="no-skill-threshold") from error
        return skill

    @cached_property
    def n_effective(self) -> float:
        """Effective number of independent validation windows."""
        return max(1.0, self.n_validation / self.overlap)

    @cached_property
    def threshold(self) -> float:
        """Score that a trial must exceed: chance plus two standard errors."""
        return self.chance + 2 * self.error_at_chance

    @cached_property
    def error_at_chance(self) -> float:
        """Standard error of the score of a model without skill; includes the dependence between dates and symbols."""
        if self.error is not None:
            return self.error * math.sqrt(self.dependence)
        n = max(1.0, self.n_effective / self.dependence)
        return METRICS[self.metric].standard_error(self.chance, self.chance, n)

    @property
    def score_range(self) -> tuple[float, float]:
        """Lower and upper bound to which scores are clipped."""
        return METRICS[self.metric].counted_range(self.chance)

    @property
    def small_gain(self) -> float:
        """Smallest difference between two scores that is relevant in practice."""
        return METRICS[self.metric].small_gain

    @property
    def objective(self) -> str:
        """Name of the study's maximised objective."""
        return METRICS[self.metric].objective

    @property
    def words(self) -> str:
        """Name of the metric as used within a sentence."""
        return METRICS[self.metric].words

    @property
    def to_beat(self) -> str:
        """Name of the best constant prediction, as used within a sentence."""
        return METRICS[self.metric].constant

    def standard_error(self, score: float) -> float:
        """Return the standard error of a validation score."""
        if self.error is not None:
            return self.error
        if (error := self._errors.get(score)) is None:
            error = METRICS[self.metric].standard_error(score, self.chance, self.n_effective)
            if not math.isnan(score):  # NaN is not equal to NaN, so a dictionary does not find it again
                self._errors[score] = error
        return error

    @cached_property
    def _errors(self) -> dict[float, float]:
        """Computed standard errors by score; a pruner needs those of all trials for each decision."""
        return {}

    def passes(self, score: float) -> bool:
        """Return whether a score exceeds the threshold."""
        return score > self.threshold

    def shortfall(self, score: float) -> float:
        """Return the threshold minus the score. The result is above 0 exactly if the score does not exceed the threshold."""
        lacks = self.threshold - score
        return lacks if self.passes(score) else max(lacks, math.ulp(0.0))


def no_skill(metric: str, folds: Sequence[Labels], overlap: float = 1.0) -> tuple[float, float]:
    """Return the mean score over folds of the best constant prediction (chance), and the standard error of this mean.

    Args:
        metric: metric of the study.
        folds: validation labels of each fold, each ``(windows,)``.
        overlap: number of windows that contain as much information as one independent window.

    Raises:
        ValueError: the metric is not defined on a fold, see :func:`undefined_in`.
    """
    if (fold := undefined_in(metric, folds)) is not None:
        raise ValueError(f"{metric} is not defined on fold {fold}, whose labels are all alike")
    chances, errors = zip(*(METRICS[metric].at_chance(_counts(labels), overlap) for labels in folds), strict=True)
    return sum(chances) / len(folds), METRICS[metric].mean_error(errors)


def undefined_in(metric: str, folds: Sequence[Labels]) -> int | None:
    """Return the index (from 0) of the first fold with a single class if the metric needs two classes; else None."""
    if not METRICS[metric].needs_two_classes:
        return None
    return next((fold for fold, labels in enumerate(folds) if len(_counts(labels)) < 2), None)


def _counts(labels: Labels) -> Counts:
    """Return the number of windows of each class, without classes that do not occur, ``(classes,)``."""
    counts = np.bincount(labels).astype(np.float64)
    return counts[counts > 0]
