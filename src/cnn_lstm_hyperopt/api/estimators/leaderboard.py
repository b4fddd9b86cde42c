"""Leaderboard of an estimator's search: the trials of the front, their scores and costs, and the choice of one trial."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pareto import knee, non_dominated
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.run_dir.paths import VALIDATION
from cnn_lstm_hyperopt.search import TrialRecord, with_fixed
from cnn_lstm_hyperopt.search.pareto_front import feasible_trials
from cnn_lstm_hyperopt.training.latency import window_milliseconds
from cnn_lstm_hyperopt.utils.text import did_you_mean, shown

COSTS = ("seconds", "MB")
R2 = "r2"
Choose = str | Callable[[pd.DataFrame], Any]
CHOICES = ("accuracy", "balanced", "fastest", "smallest")
TRIAL, CHOSEN = "trial", "chosen"


@dataclass(frozen=True)
class Objectives:
    """Objectives of the front.

    Attributes:
        metric: name of a metric that the search maximises, or ``r2`` for the front of a regressor.
        costs: the costs among :data:`COSTS` that the front minimises.
    """

    metric: str
    costs: tuple[str, ...]

    @classmethod
    def read(cls, given: Any, *, regression: bool) -> "Objectives":
        """Return the objectives that an argument names; None: the metric, seconds and MB.

        Raises:
            ConfigError: the argument does not name a metric and costs.
        """
        metrics = (R2,) if regression else tuple(METRICS)
        if given is None:
            return cls(metrics[0] if regression else "accuracy", COSTS)
        names = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else [given]
        costs = {cost.lower(): cost for cost in COSTS}
        rest = [costs.get(str(name).lower()) for name in names[1:]]
        if not names or names[0] not in metrics or None in rest or len(set(rest)) < len(rest):
            raise ConfigError(
                f"objectives must begin with a metric ({', '.join(metrics)}) and may have the costs seconds and MB after it, such"
                f" as ('{metrics[0]}', 'seconds'), but got {shown(given)}",
                field="objectives",
                code="not-objectives",
            )
        return cls(names[0], tuple(cost for cost in COSTS if cost in rest))


def leaderboard(session: Session, objectives: Objectives) -> pd.DataFrame:
    """Return the trials of the front by these objectives, the best score first.

    The columns are ``trial``, ``accuracy``, another metric that the search maximises, ``log_loss``, ``seconds``, ``MB`` and
    ``ms_per_prediction``; for a regressor ``r2`` and ``rmse`` in place of the classification scores. All scores are of
    validation. ``ms_per_prediction`` is the median time of one window in one network of the trial, on one CPU thread.
    """
    regression = objectives.metric == R2
    records = session.study.records() if regression else session.study.front()
    complete = feasible_trials(records)
    scored = [(record, _scores(session, record, objectives)) for record in complete]
    on_front = non_dominated([_losses(row, objectives) for _, row in scored])
    rows = []
    for (record, row), keep in zip(scored, on_front, strict=True):
        if keep:
            rows.append({TRIAL: record.number, **row, "ms_per_prediction": _milliseconds(session, record)})
    return pd.DataFrame(
        sorted(rows, key=lambda row: _losses(row, objectives)[0])
    )  # equal trials keep the front's order


def choose_trial(board: pd.DataFrame, choose: Choose, objectives: Objectives) -> int:
    """Return the number of the trial that ``choose`` picks from the leaderboard.

    Raises:
        ConfigError: ``choose`` is neither a known name nor a function that returns the number of a trial.
    """
    rows = board.to_dict("records")
    losses = np.array([_losses(row, objectives) for row in rows])
    places: dict[str, Callable[[], int]] = {
        "accuracy": lambda: 0,
        "balanced": lambda: knee(losses),
        "fastest": lambda: int(board["seconds"].argmin()),
        "smallest": lambda: int(board["MB"].argmin()),
    }
    if isinstance(choose, str) and choose in places:
        return int(board[TRIAL].iloc[places[choose]()])
    if not callable(choose):
        raise ConfigError(
            f"choose must be {', '.join(CHOICES)} or a function of the leaderboard, but got {shown(choose)}"
            f"{did_you_mean(choose, CHOICES)}",
            field="choose",
            code="not-a-choice",
        )
    found = choose(board.copy())
    numbers = board[TRIAL].tolist()
    if isinstance(found, bool) or found not in numbers:
        raise ConfigError(
            f"choose must return the number of a trial of the leaderboard ({', '.join(map(str, numbers))}), but returned"
            f" {shown(found)}; return a value of the column trial",
            field="choose",
            code="no-such-trial",
        )
    return int(found)


def _losses(row: Any, objectives: Objectives) -> tuple[float, ...]:
    """Return the minimised objectives of a row. Costs are logarithms, as in the hypervolume."""
    metric = objectives.metric
    lower = metric != R2 and METRICS[metric].lower_is_better
    found = [row[metric] if lower else -row[metric]]
    if "seconds" in objectives.costs:
        found.append(math.log(max(row["seconds"], 1e-3)))
    if "MB" in objectives.costs:
        found.append(math.log(row["MB"]))
    return tuple(found)


def _scores(session: Session, record: TrialRecord, objectives: Objectives) -> dict[str, float]:
    """Return the validation scores and the costs of a trial. The score by the study's metric is the trial's own."""
    if record.values is None:
        raise RuntimeError("only a complete trial is scored")
    costs = {"seconds": record.values.seconds, "MB": record.values.size_mb}
    table = pd.read_parquet(session.save_dir / VALIDATION / f"trial_{record.number:05d}.parquet")
    if objectives.metric == R2:
        return {**_regression_scores(table, session.dataset.folds), **costs}
    rest = [name for name in table if str(name).startswith("probability_")]
    later = table[rest].to_numpy(dtype=np.float64)
    probabilities = np.column_stack([1 - later.sum(axis=1), later])
    accuracy = float((probabilities.argmax(axis=1) == table["label"].to_numpy()).mean())
    loss = -score("log_loss", table["label"].to_numpy(dtype=np.int64), probabilities)
    own = {objectives.metric: METRICS[objectives.metric].shown(record.values.score)}
    return {"accuracy": accuracy, "log_loss": loss, **own, **costs}


def _regression_scores(table: pd.DataFrame, folds: Sequence[Fold]) -> dict[str, float]:
    """Return R² and RMSE of a trial's predictions for the validation windows of all folds."""
    parts = [fold.validation.values for fold in folds]
    actual = np.concatenate([part.numpy() for part in parts if part is not None]).astype(np.float64)
    errors = float(np.mean((table["value"].to_numpy(dtype=np.float64) - actual) ** 2))
    return {R2: 1 - errors / max(float(actual.var()), np.finfo(np.float64).tiny), "rmse": math.sqrt(errors)}


def _milliseconds(session: Session, record: TrialRecord) -> float:
    params = with_fixed(session.study.plan.space, record.params)
    network = build_network(session.runner.costs.network_config(params), seed=0, device=torch.device("cpu"))
    return window_milliseconds([network], session.dataset.lookback)
