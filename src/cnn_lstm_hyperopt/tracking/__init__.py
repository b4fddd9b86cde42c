"""Export a study to MLflow in a background process. No other package imports MLflow.

``process.py`` starts the process and reports how it ended; ``worker.py`` is its main loop; ``export.py`` compares the study in
``save_dir`` with MLflow and sends what is missing. A slow or unreachable server never delays or fails a trial.
"""

from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.target import tracking_target

__all__ = ["tracked", "tracking_target"]
