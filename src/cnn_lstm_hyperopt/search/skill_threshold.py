"""The line between trials that have learnt something and those that have not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.metrics import METRICS

Labels = NDArray[np.int64]
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class SkillThreshold:
    """A score beyond what the best constant prediction reaches by luck.

    A model that always says majority class is small and fast, so it is never dominated: without it such trials fill the
    front and are safe from every pruner.

    Attributes:
        chance: what the best constant prediction scores on validation: of an accuracy, the share of the majority class.
        n_validation: validation windows.
        overlap: so many windows count as one: the horizon, over which labels look at the same bars, times the design effect of
            labels that come in groups.
        metric: of the score.
        error: standard error of a score at chance, taken for all scores; None: it follows from the score and ``n_validation``.
    """

    chance: float
    n_validation: int
    overlap: float = 1
    metric: str = "accuracy"
    error: float | None = None

    def __post_init__(self) -> None:
        if self.error is None and METRICS[self.metric].fixed_error:
            raise ValueError(
                f"a skill threshold of {self.metric} needs an error, which depends on the labels: make it with SkillThreshold.on"
            )

    @classmethod
    def on(
        cls, metric: str, folds: Sequence[Labels], *, overlap: float = 1, n_windows: int | None = None
    ) -> "SkillThreshold":
        """The skill threshold of a study whose score is the mean over folds.

        A mean of K readings, each on n_k windows, varies as one on K² / Σ 1/n_k windows does; with folds of one size these are
        all of them. Windows that several folds validate on (combinatorial folds) are no new readings.

        Args:
            metric: the study's.
            folds: validation labels of each fold, each ``(windows,)``.
            overlap: so many windows count as one.
            n_windows: different windows among them; None: all are.

        Raises:
            ValueError: the metric is not defined on a fold, see :func:`undefined_in`.
        """
        sizes = [len(labels) for labels in folds]
        repeats = 1.0 if n_windows is None else sum(sizes) / n_windows
        alike = len(folds) ** 2 / sum(1 / size for size in sizes)
        chance, error = no_skill(metric, folds, overlap * repeats)
        fixed = error if METRICS[metric].fixed_error else None
        return cls(chance, max(1, round(alike / repeats)), overlap, metric, fixed)

    @classmethod
    def from_stored(cls, stored: Any, path: Path) -> "SkillThreshold":
        """Read the study attribute ``skill_gate``.

        Raises:
            SaveDirError: it is not a skill threshold.
        """
        try:
            skill = cls(**stored)
            _ = skill.passes(0.0), skill.score_range  # fails unless the metric is known and the fields are numbers
        except (TypeError, ValueError, LookupError) as error:
            text = f"{path} is damaged: its attribute skill_gate is not a skill threshold; choose another --save-dir"
            raise SaveDirError(text, field="skill_gate", code="no-skill-threshold") from error
        return skill

    @property
    def n_effective(self) -> float:
        """Independent readings among the validation windows."""
        return max(1.0, self.n_validation / self.overlap)

    @property
    def threshold(self) -> float:
        """Chance plus two standard errors."""
        return self.chance + 2 * self.standard_error(self.chance)

    @property
    def score_range(self) -> tuple[float, float]:
        """The worst and the best score that count as such."""
        return METRICS[self.metric].counted_range(self.chance)

    @property
    def small_gain(self) -> float:
        """A difference in score that is small, but worth having."""
        return METRICS[self.metric].small_gain

    @property
    def objective(self) -> str:
        """Name of the maximised objective."""
        return METRICS[self.metric].objective

    @property
    def words(self) -> str:
        """The same in a sentence."""
        return METRICS[self.metric].words

    @property
    def to_beat(self) -> str:
        """The best constant prediction, in a sentence."""
        return METRICS[self.metric].constant

    def standard_error(self, score: float) -> float:
        """Of a score on validation: ``error``, or what the metric makes of the score."""
        if self.error is not None:
            return self.error
        return METRICS[self.metric].standard_error(score, self.chance, self.n_effective)

    def passes(self, score: float) -> bool:
        """Whether a model of this score has learnt more than a constant prediction."""
        return score > self.threshold

    def shortfall(self, score: float) -> float:
        """What the score lacks to pass, as a constraint has it: above 0 exactly where it does not pass."""
        lacks = self.threshold - score
        return lacks if self.passes(score) else max(lacks, math.ulp(0.0))


def no_skill(metric: str, folds: Sequence[Labels], overlap: float = 1.0) -> tuple[float, float]:
    """(chance, standard error): what a guess that does not depend on the label scores at best, as the mean over folds.

    Args:
        metric: the study's.
        folds: validation labels of each fold, each ``(windows,)``.
        overlap: so many windows are one measurement.

    Raises:
        ValueError: the metric is not defined on a fold, see :func:`undefined_in`.
    """
    if (fold := undefined_in(metric, folds)) is not None:
        raise ValueError(f"{metric} is not defined on fold {fold}, whose labels are all alike")
    chances, errors = zip(*(METRICS[metric].at_chance(_counts(labels), overlap) for labels in folds), strict=True)
    return sum(chances) / len(folds), METRICS[metric].mean_error(errors)


def undefined_in(metric: str, folds: Sequence[Labels]) -> int | None:
    """The first fold, from 0, on which the metric needs two classes and has one; None: there is none."""
    if not METRICS[metric].needs_two_classes:
        return None
    return next((fold for fold, labels in enumerate(folds) if len(_counts(labels)) < 2), None)


def _counts(labels: Labels) -> Counts:
    """Windows of each class that occurs, shape ``(classes,)``."""
    counts = np.bincount(labels).astype(np.float64)
    return counts[counts > 0]
