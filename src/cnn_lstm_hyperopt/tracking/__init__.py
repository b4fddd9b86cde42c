"""Export of a study to MLflow by a background process. No other package imports MLflow.

``process.py`` starts the background process and reports the result. ``worker.py`` is the main loop of this process.
``export.py`` finds the parts of the study that MLflow does not have, and sends these parts. A slow or unreachable server
neither delays a trial nor makes it fail.
"""

from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.target import tracking_target

__all__ = ["tracked", "tracking_target"]
