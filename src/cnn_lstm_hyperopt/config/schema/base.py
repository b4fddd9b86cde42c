"""What all sections of the settings share: their base class, the types of paths and names, and common bounds."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from cnn_lstm_hyperopt.utils.text import is_legible, shown

MIN_SECONDS = 0.001
MAX_SECONDS = MAX_MB = 1e9
MAX_TRIALS = 10_000_000
_MAX_PATH, _MAX_NAME = 4000, 255


class Section(BaseModel):
    """Base of all settings: unknown keys are errors, values don't change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError(f"must not be {str(value).lower()}")
        return value


def legible_name(value: str) -> str:
    """Return the name.

    Raises:
        ValueError: it has control characters or spaces around it; the text is the rule, to stand behind the setting's name.
    """
    if not is_legible(value):
        raise ValueError(f"must be text without control characters, but got {shown(value)}")
    if value != value.strip():
        raise ValueError(f"must not begin or end with a space, but got {shown(value)}")
    return value


def as_path(value: Any, kind: str = "directory") -> Any:
    """Return the path that a text means, with ``~`` replaced; pydantic checks values of other types.

    Raises:
        ValueError: it can be none; the text is the rule and the value, to stand behind the setting's name.
    """
    if not isinstance(value, (str, os.PathLike)):
        return value
    text = str(value)
    if not text or text.isspace():
        raise ValueError(f"must name a file or a directory, but got {shown(text)}")
    _require_legible(text)
    if len(text) > _MAX_PATH or any(len(os.fsencode(part)) > _MAX_NAME for part in re.split(r"[/\\]", text)):
        raise ValueError(
            f"must be a path of at most {_MAX_PATH} characters and {_MAX_NAME} between two slashes, but got {shown(text)}"
        )
    if re.match(r"\$\w+(/|$)|\$\{\w+\}|%\w+%", text):
        raise ValueError(f"must be written out, for variables are not replaced here (~ is), but got {shown(text)}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # but C:/results is a path
        raise ValueError(f"must be a local {kind}, but got {shown(text)}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"must begin with the directory of a user whom there is, but got {shown(text)}") from None


def _require_legible(path: str) -> None:
    if not is_legible(path):
        raise ValueError(f"must be a path without control characters, but got {shown(path)}")


def _absolute(path: Path | None) -> Path | None:
    """Return the path of the same file for a run that continues in another directory."""
    if path is None:
        return None
    try:
        whole = path.absolute()
    except OSError as error:
        raise ValueError(
            f"must begin with / where the working directory is gone ({error.strerror}), but got {shown(str(path))}"
        ) from error
    _require_legible(str(whole))
    return whole


def _function_reference(value: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value) is None:
        raise ValueError(f"must be module:function, such as mine:more, but got {shown(value)}")
    return value


FunctionReference = Annotated[str, AfterValidator(_function_reference)]
"""``module:function``."""
Directory = Annotated[Path, BeforeValidator(as_path)]
InputDirectory = Annotated[Path | None, BeforeValidator(as_path), AfterValidator(_absolute)]
InputPath = Annotated[
    Path | None, BeforeValidator(lambda value: as_path(value, "file or directory")), AfterValidator(_absolute)
]
