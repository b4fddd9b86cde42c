"""The errors that this package raises on purpose.

HyperoptError
├── InputError                  exit code 2: the input is wrong; no trial was started
│   ├── ConfigError             a setting, a flag or a YAML key
│   ├── DataError               bars, symbols or dates
│   │   ├── ArrayError          arrays, tables or arguments of an estimator; also a ValueError
│   │   ├── BadBarsError        invalid rows of all files in one list; in data.problems
│   │   └── EmptyBlockError     a block of a fold has no windows; in data.splits
│   └── SaveDirError            the results directory exists, is missing, or belongs to another study
└── RunError                    exit code 1: the work started and did not succeed
    ├── StudyFailedError        too many trials failed in a row
    ├── TrialChangedError       another program changed a running trial
    ├── EmptyFrontError         no trial is complete and feasible
    ├── BaselineError           a user's own baseline fails in the final test
    ├── CheckpointError         training can't continue from a checkpoint file
    ├── MemoryLimitError        a training needs more memory than limits.memory_mb; also a MemoryError
    ├── StorageFailedError      the disk is full or read-only; study.db is locked, damaged or missing
    │   └── ConnectionLostError the database server of the study does not answer
    ├── TrackingError           MLflow can't be written to
    └── InterruptedRunError     exit code 130: Ctrl-C

An error's text may change in any version. The type, ``field`` and ``code`` of an error do not change, because programs and
tests check them.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """Rule that the input or the run violates: the wrong field and the name of the rule.

    Attributes:
        field: the setting (``study.n_trials``), flag (``--output``), argument, file or column that is wrong. Empty if the
            error has no single cause.
        code: name of the rule, as ``words-with-hyphens``. The name stays the same when the text of the error changes.
    """

    field: str = ""
    code: str = ""


class HyperoptError(Exception):
    """Base class of all errors of this package. The text of an error is one line or a short list, for the user.

    Attributes:
        violations: the violated rules (at least one), in the order in which the text lists them.
        exit_code: exit code of the command line program.
    """

    exit_code = 1

    def __init__(
        self, text: str = "", *, field: str = "", code: str = "", violations: Sequence[Violation] = ()
    ) -> None:
        super().__init__(text)
        self.violations = tuple(violations) or (Violation(field, code),)

    @property
    def field(self) -> str:
        """Field of the error's first violation."""
        return self.violations[0].field

    @property
    def code(self) -> str:
        """Code of the error's first violation."""
        return self.violations[0].code


class InputError(HyperoptError):
    """The input violates a rule. The text names the field, the rule, the value and the fix."""

    exit_code = 2


class ConfigError(InputError):
    """A setting, a command line flag or a YAML key is wrong."""


class DataError(InputError):
    """Bars, symbols or dates are missing or wrong."""


class ArrayError(DataError, ValueError):
    """An array, a table or another argument of an estimator is wrong. As in scikit-learn, this is also a ValueError."""


class SaveDirError(InputError):
    """The results directory exists already, is missing, or belongs to another study."""


class RunError(HyperoptError):
    """The run started and could not reach its goal."""


class StudyFailedError(RunError):
    """Too many trials failed in a row."""


class TrialChangedError(RunError):
    """Another program ended, edited or removed a running trial; the search continues without this trial."""


class EmptyFrontError(RunError):
    """No trial is complete, so there is nothing to retrain."""


class BaselineError(RunError):
    """A user's own baseline fails in the final test, although the check before the first trial found no error."""


class CheckpointError(RunError):
    """A checkpoint is missing or damaged, or it was written by another version or by another training."""


class MemoryLimitError(RunError, MemoryError):
    """A training needs more memory than allowed. The trial is repeated with settings that need less memory."""


class StorageFailedError(RunError):
    """Results can't be stored: the disk is full, or study.db is locked, damaged or missing. Finished trials are kept."""


class ConnectionLostError(StorageFailedError):
    """The database server of the study did not answer for five minutes. Finished trials are kept."""


class TrackingError(RunError):
    """MLflow does not answer or refuses a request; the study itself is complete."""


class InterruptedRunError(RunError):
    """The user pressed Ctrl-C; the results of finished trials are written."""

    exit_code = 130
