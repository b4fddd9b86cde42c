"""Versions of a model: the first is in the model's own folder, later ones are in ``versions/NUMBER``.

``versions.json`` names the version that serves. It is the only file that changes when the version changes, and it is replaced
as a whole, so readers find the old or the new version at any moment.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.inference.stored_form import FormError, StoredForm
from cnn_lstm_hyperopt.run_dir.paths import VERSIONS, VERSIONS_FILE
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text
from cnn_lstm_hyperopt.utils.text import one_line, printable

VERSION_FORMAT = 1
"""Format number of ``versions.json``."""
Policy = Literal["refit", "finetune", "none"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
_MAX_VERSION = 999_999


@dataclass(frozen=True)
class ModelVersion:
    """Facts about a version that an update created.

    Attributes:
        version: number of the version, at least 2.
        parent: version that served before.
        created: time of the update, in ISO 8601.
        policy: how the version was trained, ``refit`` or ``finetune``.
        trained_until: last decision date of the training windows, as text.
        seen_until: date of the last bar that a training label uses, as text.
        windows: number of training windows.
        dates: number of decision dates of the training windows.
        epochs: number of epochs of each network.
    """

    version: int
    parent: int
    created: str
    policy: str
    trained_until: str
    seen_until: str
    windows: int
    dates: int
    epochs: int

    @property
    def sentence(self) -> str:
        """Sentence about the version and the origin of its figures."""
        return (
            f"Version {self.version}, {self.policy} on {self.windows:,} windows until {self.trained_until}. Test figures are of"
            " version 1."
        )


@dataclass(frozen=True)
class History:
    """Content of ``versions.json``.

    Attributes:
        current: number of the version that serves; 1: the model in the folder itself.
        versions: all versions except the first, in the order of their numbers.
        events: records of updates and rollbacks, in order of time.
    """

    current: int = 1
    versions: tuple[ModelVersion, ...] = ()
    events: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def present(self) -> ModelVersion | None:
        """Version that serves; None: version 1."""
        return self.get(self.current)

    def get(self, version: int) -> ModelVersion | None:
        """Return the facts about a version; None if it is version 1 or unknown."""
        return next((each for each in self.versions if each.version == version), None)

    @property
    def next_number(self) -> int:
        """Number of the next version. Numbers are never used twice."""
        return 1 + max((each.version for each in self.versions), default=1)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``versions.json``."""
        return {
            "format": VERSION_FORMAT,
            "current": self.current,
            "versions": [asdict(each) for each in self.versions],
            "events": [dict(each) for each in self.events],
        }


_Number = Annotated[int, Field(ge=1, le=_MAX_VERSION)]
_Text = Annotated[str, Field(max_length=100)]


class _StoredVersion(StoredForm):
    version: Annotated[int, Field(ge=2, le=_MAX_VERSION)]
    parent: _Number
    created: _Text
    policy: Literal["refit", "finetune"]
    trained_until: _Text
    seen_until: _Text
    windows: Annotated[int, Field(ge=1)]
    dates: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=0, le=1_000_000)]


class _StoredHistory(StoredForm):
    format: Literal[1]
    current: _Number
    versions: Annotated[list[_StoredVersion], Field(max_length=_MAX_VERSION)]
    events: list[dict[str, Any]]

    def history(self) -> History:
        """Return the checked history.

        Raises:
            FormError: the versions contradict each other.
        """
        numbers = [each.version for each in self.versions]
        if numbers != sorted(set(numbers)):
            text = f"versions must have ascending numbers, but got {numbers[:20]}"
            raise FormError(text, "versions", "version-order")
        if any(each.parent not in (1, *numbers) or each.parent >= each.version for each in self.versions):
            raise FormError("the parent of a version must be an earlier version", "versions", "no-parent")
        if self.current not in (1, *numbers):
            raise FormError(f"current must be a version, but got {self.current}", "current", "no-version")
        versions = tuple(ModelVersion(**each.model_dump()) for each in self.versions)
        return History(self.current, versions, tuple(self.events))


def version_folder(folder: Path, version: int) -> Path:
    """Return the folder of a version of the model in ``folder``. Version 1 is in ``folder`` itself."""
    return folder if version == 1 else folder / VERSIONS / str(version)


def read_history(folder: Path) -> History:
    """Return the history of the model in ``folder``. A model without ``versions.json`` has only version 1.

    Raises:
        SaveDirError: the file is invalid.
    """
    path = folder / VERSIONS_FILE
    if not path.is_file():
        return History()
    try:
        return _StoredHistory.read(parse_json(read_text(path, MAX_JSON_BYTES))).history()
    except ValueError as error:
        raise SaveDirError(
            f"{printable(str(path))} is invalid ({one_line(error, 300)}); restore the file; --tested uses version 1",
            field=VERSIONS_FILE,
            code="not-json",
            violations=error.violations if isinstance(error, FormError) else (),
        ) from error
