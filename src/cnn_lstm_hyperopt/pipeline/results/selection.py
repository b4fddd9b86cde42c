"""Estimator of the selection bias of the trials, which can be updated while trials finish."""

from collections.abc import Callable, Mapping
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import TradingRules
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries, deflated, read_trials
from cnn_lstm_hyperopt.run_dir.paths import VALIDATION
from cnn_lstm_hyperopt.search import Study, above_chance
from cnn_lstm_hyperopt.utils.text import counted

SelectionBias = tuple[TrialSeries, DeflatedSharpe | None]


class SelectionTracker:
    """Estimator of the selection bias.

    The estimator reads the trials' validation predictions again if new trials have finished.

    Args:
        settings: settings of the run.
        dataset: dataset of the study.
        warn: function that shows a warning.
    """

    def __init__(self, settings: Settings, dataset: Dataset, warn: Callable[[str], None]) -> None:
        self._settings, self._dataset, self._warn = settings, dataset, warn
        self._series: tuple[int, TrialSeries | None] | None = None

    def knows(self, n_finished: int) -> bool:
        """Return True if the validation predictions of all ``n_finished`` finished trials are loaded."""
        return self._series is not None and self._series[0] == n_finished

    def estimate(self, study: Study, confirmation: Mapping[str, Any] | None) -> SelectionBias | None:
        """Return the probability of backtest overfitting and the deflated Sharpe ratio of the selected trial.

        Args:
            study: the study.
            confirmation: entry ``confirmation`` of ``results.json``. The first candidate in this entry is the selected trial.
                Without candidates, the first trial of the Pareto front is selected.

        Returns:
            The estimates, or None if there are no validation predictions yet.
        """
        records = [record for record in study.records() if record.finished]
        if self._series is None or len(records) > self._series[0]:
            beats_chance = any(above_chance(record, study.plan.skill) for record in records)
            # A trial that a limit or a pruner ended within its first epoch has no best epoch, so it has no predictions.
            evaluated = {record.number for record in records if record.attributes.get("best_epoch") != 0}
            self._series = len(records), self._read(evaluated, study.plan.metric, beats_chance)
        series = self._series[1]
        if series is None:
            return None
        ranked = [entry["trial_number"] for entry in (confirmation or {}).get("candidates", ()) if entry["rank"] == 1]
        chosen = next(iter([*ranked, *(record.number for record in study.front())]), None)
        return series, deflated(series, chosen, n_trials=len(records))

    def _read(self, evaluated: set[int], metric: str, beats_chance: bool) -> TrialSeries | None:
        series = read_trials(
            self._settings.save_dir / VALIDATION,
            evaluated,
            self._dataset,
            metric=metric,
            rules=TradingRules.of(self._dataset, self._settings.evaluation),
            beats_chance=beats_chance,
            balances_classes=self._settings.training.balances_classes(metric),
        )
        if series is not None and series.missing:
            self._warn(
                f"{VALIDATION}/: predictions of {counted(len(series.missing), 'trial')} are missing or damaged, so the"
                f" probability of overfitting ignores these: {', '.join(map(str, series.missing[:10]))}"
            )
        return series
