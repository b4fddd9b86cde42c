"""First trials from a study library: a small set of configurations that would have been good in the most similar studies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search.initial_trials.entries import in_space
from cnn_lstm_hyperopt.search.initial_trials.kinds import InitialTrial
from cnn_lstm_hyperopt.search.initial_trials.library import LibraryStudy, LibraryTrial, read
from cnn_lstm_hyperopt.search.samplers.boxes import improvement, undominated_boxes
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.samplers.gp.regression import Hyperparameters, Posterior, fit, standard
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.utils.rng import stream

Array = NDArray[np.float64]

ORIGIN = "library"
STARTS = 8
"""Number of first trials from a library."""
SIMILAR = 5
"""Number of studies that are used: the most similar ones."""
MIN_TRIALS, MAX_TRIALS, FIT_TRIALS = 20, 300, 150
"""Minimum and maximum number of trials of a study that are used, and maximum number for the fit of hyperparameters."""
STEPS = 15
REFERENCE = 1.1
"""Coordinate of the reference point in each loss, which is scaled to the range of a study's front."""
MIN_WIDTH = 1e-3
"""Minimum range that losses are scaled to."""
WORST = 0.1
"""Share of the trials with the lowest scores, whose scores are raised to the next score, because some diverge."""


@dataclass(frozen=True)
class Transferred:
    """First trials from a library.

    Attributes:
        starts: full configurations, the one with the largest gain first.
        studies: labels of the studies that were used, the most similar first.
        warnings: sentences about files that can't be used.
    """

    starts: tuple[InitialTrial, ...]
    studies: tuple[str, ...]
    warnings: tuple[str, ...]


def read_library(
    folder: Path, plan: StudyPlan, *, made_from: str, target: str, characteristics: Mapping[str, float]
) -> Transferred:
    """Return the first trials of a study from the most similar studies of a library.

    Args:
        folder: folder of the library.
        plan: plan of the new study.
        made_from: hash of the new study; its own results from an earlier run are not used.
        target: what the networks of the new study predict.
        characteristics: numbers that describe the data of the new study.
    """
    found, warnings = read(folder)
    others = [study for study in found if study.made_from != made_from]
    others.sort(key=lambda study: distance(study, target, characteristics))
    tables: list[StudyTable] = []
    labels: list[str] = []
    for study in others:
        table = StudyTable.of(study.trials, plan)
        if table is not None:
            tables.append(table)
            labels.append(study.label)
        if len(tables) == SIMILAR:
            break
    return Transferred(tuple(chosen(tables, plan)), tuple(labels), tuple(warnings))


def distance(study: LibraryStudy, target: str, characteristics: Mapping[str, float]) -> float:
    """Return the sum of the absolute differences of the characteristics, plus 1 if the targets differ."""
    shared = study.characteristics.keys() & characteristics.keys()
    differences = sum(abs(study.characteristics[name] - characteristics[name]) for name in sorted(shared))
    return differences + (study.target != target)


@dataclass(frozen=True)
class StudyTable:
    """Trials of a study of the library whose configurations are valid in the new study.

    Attributes:
        params: active, searched parameters of the new study.
        features: features of the configurations, shape ``(trials, columns)``.
        losses: (−score, ln seconds, ln MB), shape ``(trials, 3)``.
        front: mask of the trials that were on the study's front, shape ``(trials,)``.
    """

    params: Sequence[Params]
    features: Array
    losses: Array
    front: NDArray[np.bool_]

    @classmethod
    def of(cls, trials: Sequence[LibraryTrial], plan: StudyPlan) -> "StudyTable | None":
        """Return the table, or None with too few valid trials or without a valid trial of the front.

        Of a large study, the trials of the front and evenly spread other trials are used.
        """
        if len(trials) > MAX_TRIALS:
            places = np.linspace(0, len(trials) - 1, MAX_TRIALS).round().astype(int)
            kept = set(places.tolist())
            trials = [trial for place, trial in enumerate(trials) if place in kept or trial.on_front]
        valid = [
            (found, trial)
            for index, trial in enumerate(trials)
            if (found := in_space(trial.params, plan, index)) is not None
        ]
        if len(valid) < MIN_TRIALS or not any(trial.on_front for _, trial in valid):
            return None
        encoding = Encoding(plan.space)
        params = [found for found, _ in valid]
        return cls(
            params,
            encoding.features(encoding.vectors(params)),
            np.array([trial.losses for _, trial in valid]),
            np.array([trial.on_front for _, trial in valid], dtype=bool),
        )


def chosen(tables: Sequence[StudyTable], plan: StudyPlan) -> list[InitialTrial]:
    """Return configurations of the fronts that together have a large hypervolume per second, averaged over the studies.

    A Gaussian process for each study and loss predicts the losses of the configurations of all fronts in this study. The set is
    built greedily: the next configuration adds the most hypervolume per second of training (greedy portfolios of Feurer,
    Eggensperger, Falkner, Lindauer & Hutter 2022, "Auto-Sklearn 2.0"). So a configuration that was good in one study only comes
    late.
    """
    encoding = Encoding(plan.space)
    candidates: list[Params] = []
    for table in tables:
        on_front = [params for params, front in zip(table.params, table.front, strict=True) if front]
        candidates += [params for params in on_front if params not in candidates and plan.allows(params)]
    if not candidates:
        return []
    features = encoding.features(encoding.vectors(candidates))
    predicted = [_predicted(table, features, encoding, plan.seed) for table in tables]
    scaled = [losses for losses, _ in predicted]
    relative_seconds = np.exp(np.mean([log_seconds for _, log_seconds in predicted], axis=0))
    places: list[int] = []
    while len(places) < min(STARTS, len(candidates)):
        gains = np.mean([_gains(losses, places) for losses in scaled], axis=0) / relative_seconds
        gains[places] = -math.inf
        places.append(int(np.argmax(gains)))
    return [InitialTrial(dict(candidates[place]), ORIGIN) for place in places]


def _gains(losses: Array, places: Sequence[int]) -> Array:
    """Return the hypervolume that each row adds to the rows at some places, shape ``(rows,)``."""
    taken = losses[list(places)]
    front = taken[non_dominated(taken)] if len(taken) else taken
    lows, highs = undominated_boxes(front, REFERENCE)
    return improvement(losses, lows, highs)


def _predicted(table: StudyTable, features: Array, encoding: Encoding, seed: int) -> tuple[Array, Array]:
    """Predict the losses of configurations in a study of the library.

    Returns:
        The losses, scaled to the range of the study's front, ``(configurations, 3)``, and ln seconds minus the mean ln seconds of
        the study's trials, ``(configurations,)``.
    """
    predicted, fronts = [], []
    for loss in range(3):
        values = table.losses[:, loss]
        if loss == 0:
            values = np.minimum(values, np.quantile(values, 1 - WORST))
        posterior = _posterior(table.features, values, encoding, seed)
        predicted.append(posterior.predict_mean(features))
        fronts.append(posterior.predict_mean(table.features[table.front]))
    front = np.column_stack(fronts)
    low = front.min(axis=0)
    width = np.maximum(front.max(axis=0) - low, MIN_WIDTH)
    return (np.column_stack(predicted) - low) / width, predicted[1] - table.losses[:, 1].mean()


def _posterior(features: Array, values: Array, encoding: Encoding, seed: int) -> Posterior:
    some = np.sort(stream(seed, 0, "library").permutation(len(values))[:FIT_TRIALS])
    mean, sd = standard(values)
    axes, none = encoding.axis_of_column, np.zeros(len(values))
    start = Hyperparameters.initial(len(encoding.axes))
    found = fit(features[some], (values[some] - mean) / sd, none[some], axes, start, steps=STEPS)
    return Posterior(features, values, none, axes, found)
