"""Files that workers without access to ``save_dir`` exchange with the run through a URL."""

from cnn_lstm_hyperopt.execution.artifacts.copies import CheckpointCopies, SentPredictions, checkpoint_copies
from cnn_lstm_hyperopt.execution.artifacts.store import ArtifactStore, FolderStore, ObjectStore, open_store
from cnn_lstm_hyperopt.execution.artifacts.study_files import StudyFiles, check_artifacts, stored_files

__all__ = [
    "ArtifactStore",
    "CheckpointCopies",
    "FolderStore",
    "ObjectStore",
    "SentPredictions",
    "StudyFiles",
    "check_artifacts",
    "checkpoint_copies",
    "open_store",
    "stored_files",
]
