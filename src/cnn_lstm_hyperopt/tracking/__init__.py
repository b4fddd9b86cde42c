"""Export of a study to trackers (MLflow, TensorBoard, Weights & Biases) by background processes.

``subscriber.py`` connects a run to its trackers. ``process.py`` starts a background process for each tracker and reports the
result. ``worker.py`` is the main loop of this process. ``exporter.py`` finds the ended trials of the study, and a member of
``trackers/`` sends what its tracker does not have. A slow or unreachable server neither delays a trial nor makes it fail.
No other package imports MLflow.
"""

from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.trackers import TRACKERS

__all__ = ["TRACKERS", "tracked"]
