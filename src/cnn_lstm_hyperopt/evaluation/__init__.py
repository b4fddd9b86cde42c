"""What predictions are worth: scores, block bootstrap, baselines. Arrays in, numbers out."""

from cnn_lstm_hyperopt.evaluation.baselines import BASELINES, Baseline
from cnn_lstm_hyperopt.evaluation.bootstrap import Interval, accuracy_interval, difference_interval
from cnn_lstm_hyperopt.evaluation.scores import Scores, score

__all__ = ["BASELINES", "Baseline", "Interval", "Scores", "accuracy_interval", "difference_interval", "score"]
