"""Common parts of all sections of the settings: the base class, types of paths and names, and bounds of numbers."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from cnn_lstm_hyperopt.errors import Violation
from cnn_lstm_hyperopt.utils.text import is_legible, shown

MIN_SECONDS = 0.001
MAX_SECONDS = MAX_MB = 1e9
MAX_TRIALS = 10_000_000
_MAX_PATH, _MAX_NAME = 4000, 255


class SettingError(ValueError):
    """Error of a setting that violates a rule of this package. In the full error, the text follows the name of the setting.

    Attributes:
        violations: violated rules as in :class:`.HyperoptError`. The fields of these violations are relative to the validated
            section.
    """

    def __init__(self, text: str, code: str, field: str = "") -> None:
        super().__init__(text)
        self.violations = (Violation(field, code),)


class Section(BaseModel):
    """Base class of all sections of the settings. Unknown keys are errors, and values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise SettingError(f"must not be {str(value).lower()}", "boolean")
        return value


def legible_name(value: str) -> str:
    """Check the characters of a name and return the name unchanged.

    Raises:
        SettingError: the name has control characters, or begins or ends with spaces.
    """
    if not is_legible(value):
        raise SettingError(f"must be text without control characters, but got {shown(value)}", "name-not-printable")
    if value != value.strip():
        raise SettingError(f"must not begin or end with a space, but got {shown(value)}", "outer-space")
    return value


def as_path(value: Any, kind: str = "directory") -> Any:
    """Convert a text to a path and replace ``~`` by the home folder.

    Values of other types are returned unchanged for pydantic to check.

    Raises:
        SettingError: the text is not a valid local path.
    """
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = str(value)
    if not text or text.isspace():
        raise SettingError(f"must name a file or a directory, but got {shown(text)}", "empty-path")
    _require_legible(text)
    if len(text) > _MAX_PATH or any(len(os.fsencode(part)) > _MAX_NAME for part in re.split(r"[/\\]", text)):
        raise SettingError(
            f"must be a path of at most {_MAX_PATH} characters and {_MAX_NAME} between two slashes, but got {shown(text)}",
            "path-too-long",
        )
    if re.match(r"\$\w+(/|$)|\$\{\w+\}|%\w+%", text):
        raise SettingError(
            f"must be a path without variables, which are not replaced here (~ is), but got {shown(text)}",
            "variable-in-path",
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # a URL; C:/results is a path
        raise SettingError(f"must be a local {kind}, but got {shown(text)}", "not-local")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise SettingError(
            f"must begin with the home directory of an existing user, but got {shown(text)}", "no-such-user"
        ) from None


def _require_legible(path: str) -> None:
    if not is_legible(path):
        raise SettingError(f"must be a path without control characters, but got {shown(path)}", "path-not-printable")


def _absolute(path: Path | None) -> Path | None:
    """Return the absolute form of a path, because a run may be resumed in another working directory."""
    if path is None:
        return None
    try:
        whole = path.absolute()
    except OSError as error:
        raise SettingError(
            f"must begin with / because the working directory is gone ({error.strerror}), but got {shown(str(path))}",
            "no-working-directory",
        ) from error
    _require_legible(str(whole))
    return whole


def _function_reference(value: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value) is None:
        raise SettingError(f"must be module:function, such as mine:more, but got {shown(value)}", "not-a-reference")
    return value


FunctionReference = Annotated[str, AfterValidator(_function_reference)]
"""Type of a reference to a function, written as ``module:function``."""
Names = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""Validator of a field with a list of names, which is stored as a tuple."""
Directory = Annotated[Path, BeforeValidator(as_path)]
InputDirectory = Annotated[Path | None, BeforeValidator(as_path), AfterValidator(_absolute)]
InputPath = Annotated[
    Path | None, BeforeValidator(lambda value: as_path(value, "file or directory")), AfterValidator(_absolute)
]
