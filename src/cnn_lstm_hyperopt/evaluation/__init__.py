"""Evaluation of predictions: scores, confidence intervals, baselines, a trading strategy and a verdict.

Most functions take arrays and return numbers.
"""

from cnn_lstm_hyperopt.evaluation.baselines import BASELINES, fit_baselines, not_installed
from cnn_lstm_hyperopt.evaluation.baselines.base import UNKNOWN, Baseline, Sample, base_rates
from cnn_lstm_hyperopt.evaluation.baselines.known_labels import earlier_windows, last_labels, last_values, recent_counts
from cnn_lstm_hyperopt.evaluation.baselines.own import OwnForecast, own_forecast
from cnn_lstm_hyperopt.evaluation.baselines.own_windows import BaselineWindows
from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.evaluation.intervals import paired_interval, score_interval
from cnn_lstm_hyperopt.evaluation.label_dependence import dates_effect, design_effect
from cnn_lstm_hyperopt.evaluation.overfitting import (
    Overfitting,
    deflated_sharpe,
    expected_maximum_sharpe,
    overfitting_meaning,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
    sharpe,
)
from cnn_lstm_hyperopt.evaluation.power import Power, smallest_differences
from cnn_lstm_hyperopt.evaluation.probability_calibration import CalibrationRow, calibration_error, calibration_table
from cnn_lstm_hyperopt.evaluation.scores import GroupRow, Scores, by_group, score_predictions, shrinkage, years
from cnn_lstm_hyperopt.evaluation.skill_test import Comparison, Grade, Judgement, judge
from cnn_lstm_hyperopt.evaluation.strategy import Excess, Market, Returns, Strategy, TradingRules, goes_long, long_flat
from cnn_lstm_hyperopt.evaluation.verdict_text import level_text, recommendation_text, verdict_text
from cnn_lstm_hyperopt.metrics.proportions import Interval

__all__ = [
    "BASELINES",
    "UNKNOWN",
    "Baseline",
    "BaselineWindows",
    "CalibrationRow",
    "Comparison",
    "Dependence",
    "Excess",
    "Grade",
    "GroupRow",
    "Interval",
    "Judgement",
    "Market",
    "Overfitting",
    "OwnForecast",
    "Power",
    "Returns",
    "Sample",
    "Scores",
    "Strategy",
    "TradingRules",
    "base_rates",
    "by_group",
    "calibration_error",
    "calibration_table",
    "dates_effect",
    "deflated_sharpe",
    "design_effect",
    "earlier_windows",
    "expected_maximum_sharpe",
    "fit_baselines",
    "goes_long",
    "judge",
    "last_labels",
    "last_values",
    "level_text",
    "long_flat",
    "not_installed",
    "overfitting_meaning",
    "own_forecast",
    "paired_interval",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
    "recent_counts",
    "recommendation_text",
    "score_interval",
    "score_predictions",
    "sharpe",
    "shrinkage",
    "smallest_differences",
    "verdict_text",
    "years",
]
