"""Every error that this package raises on purpose.

HyperoptError
├── InputError               exit code 2: what the user gave is wrong; nothing was started
│   ├── ConfigError          a setting, a flag or a YAML key
│   ├── DataError            bars, symbols, dates (problems.BadBarsError: all errors of all files; splits.EmptyBlockError)
│   └── SaveDirError         the results directory: exists, is missing, or belongs to another study
└── RunError                 exit code 1: the work itself did not succeed
    ├── StudyFailedError     trial after trial fails for the same reason
    ├── TrialChangedError    another program changed a trial that was running
    ├── CheckpointError      a training can't go on from this file
    ├── MemoryLimitError     a training needs more memory than limits.memory_mb
    ├── StorageFailedError   the disk is full or read-only; study.db is locked, damaged or gone
    ├── TrackingError        MLflow can't be written to
    └── EmptyFrontError      no trial is complete
"""


class HyperoptError(Exception):
    """Base of all errors of this package; its text is one clear line (or a short list) for the user."""

    exit_code = 1


class InputError(HyperoptError):
    """What the user handed over breaks a rule; the text names the field, the rule, the value and the cure."""

    exit_code = 2


class ConfigError(InputError):
    """A setting, a command line flag or a YAML key is wrong."""


class DataError(InputError):
    """Bars, symbols or dates are missing or wrong."""


class SaveDirError(InputError):
    """The results directory can't be used as asked."""


class RunError(HyperoptError):
    """The run started and could not reach its goal."""


class StudyFailedError(RunError):
    """Too many trials failed in a row."""


class TrialChangedError(RunError):
    """Another program ended, edited or removed a trial that this one is running; the search continues without it."""


class EmptyFrontError(RunError):
    """No trial is complete, so there is nothing to retrain."""


class CheckpointError(RunError):
    """A training can't go on from this checkpoint: it is missing, damaged, of another version or of another training."""


class MemoryLimitError(RunError, MemoryError):
    """A training needs more memory than it was given; it is tried again with less, as after any lack of memory."""


class StorageFailedError(RunError):
    """Nothing more can be stored: the disk is full, study.db is locked, damaged or gone, …; what was finished is kept."""


class TrackingError(RunError):
    """MLflow does not answer or refuses what it is told; the study itself is whole."""


class InterruptedRunError(RunError):
    """The user pressed Ctrl-C; results of what was finished are written."""

    exit_code = 130
