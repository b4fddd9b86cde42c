"""Export a study to MLflow in a background process. No other package imports MLflow.

``process.py`` starts the process and reports the result. ``worker.py`` is the main loop of the process. ``export.py``
compares the study in ``save_dir`` with MLflow and sends the missing parts. A slow or unreachable server never delays or
fails a trial.
"""

from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.target import tracking_target

__all__ = ["tracked", "tracking_target"]
