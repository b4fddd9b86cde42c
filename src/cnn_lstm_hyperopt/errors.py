"""The errors that this package raises on purpose.

HyperoptError
├── InputError                  exit code 2: the input is wrong; nothing was started
│   ├── ConfigError             a setting, a flag or a YAML key
│   ├── DataError               bars, symbols or dates
│   │   ├── BadBarsError        all invalid rows of all files, in data.problems
│   │   └── EmptyBlockError     a part of the split has no windows, in data.splits
│   └── SaveDirError            the results directory exists, is missing, or belongs to another study
└── RunError                    exit code 1: the work started and did not succeed
    ├── StudyFailedError        trial after trial fails for the same reason
    ├── TrialChangedError       another program changed a running trial
    ├── EmptyFrontError         no trial is complete
    ├── CheckpointError         a training can't continue from this file
    ├── MemoryLimitError        a training needs more memory than limits.memory_mb; also a MemoryError
    ├── StorageFailedError      the disk is full or read-only; study.db is locked, damaged or missing
    ├── TrackingError           MLflow can't be written to
    └── InterruptedRunError     exit code 130: Ctrl-C
"""


class HyperoptError(Exception):
    """Base of all errors of this package; its text is one line, or a short list, for the user."""

    exit_code = 1


class InputError(HyperoptError):
    """The input breaks a rule; the text names the field, the rule, the value and the fix."""

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
    """Another program ended, edited or removed a running trial; the search continues without it."""


class EmptyFrontError(RunError):
    """No trial is complete, so there is nothing to retrain."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged, of another version or of another training."""


class MemoryLimitError(RunError, MemoryError):
    """A training needs more memory than allowed; it is retried with less, as after any lack of memory."""


class StorageFailedError(RunError):
    """Nothing more can be stored: the disk is full, or study.db is locked, damaged or missing. Finished trials are kept."""


class TrackingError(RunError):
    """MLflow does not answer or refuses a request; the study itself is complete."""


class InterruptedRunError(RunError):
    """The user pressed Ctrl-C; the results of finished trials are written."""

    exit_code = 130
