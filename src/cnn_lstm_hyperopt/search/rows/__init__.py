"""Reading and writing of the trials of a study, a whole trial at a time."""

from cnn_lstm_hyperopt.search.rows.base import Change, Head, TrialRows
from cnn_lstm_hyperopt.search.rows.memory import MemoryRows
from cnn_lstm_hyperopt.search.rows.server import ServerRows
from cnn_lstm_hyperopt.search.rows.sql import SqlRows

__all__ = ["Change", "Head", "MemoryRows", "ServerRows", "SqlRows", "TrialRows"]
