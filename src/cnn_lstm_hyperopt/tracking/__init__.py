"""What a study leaves in its directory, mirrored to MLflow by a process of its own. The only part that knows MLflow.

A run starts a follower (``process.py``), which reads ``study.db`` and the results like any other reader and writes what MLflow
lacks (``mirror.py``). Nothing that trains waits for it, and whatever becomes of it or of the server costs no trial.
"""

from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.target import Target, tracking_target

__all__ = ["Target", "tracked", "tracking_target"]
