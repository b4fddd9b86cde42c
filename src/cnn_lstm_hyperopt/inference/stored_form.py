"""Base of the JSON files of a model. Any program may have written them, so everything in them is checked."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cnn_lstm_hyperopt.config.messages import explain
from cnn_lstm_hyperopt.errors import Violation


class FormError(ValueError):
    """A JSON file breaks rules; the text has a line for each.

    Attributes:
        violations: the key and the code of each broken rule.
    """

    def __init__(self, text: str, field: str = "", code: str = "", violations: Sequence[Violation] = ()) -> None:
        super().__init__(text)
        self.violations = tuple(violations) or (Violation(field, code),)


class StoredForm(BaseModel):
    """A mapping in such a file: no unknown keys, finite numbers, no conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @classmethod
    def read(cls, raw: Any, place: str = "") -> Self:
        """Return ``raw`` as this form.

        Raises:
            FormError: it breaks a rule; a line for each error, with ``place`` before it.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            found = error.errors(include_url=False)
            text = "\n".join(f"{place}{problem.text}" for problem in explain(found, cls))
            raise FormError(text, violations=[_violation(each) for each in found]) from error


def _violation(fault: Any) -> Violation:
    """A rule about several fields names the first one as the first word of its text."""
    field = ".".join(map(str, fault["loc"])) or str(fault["msg"]).removeprefix("Value error, ").split(" ")[0]
    return Violation(field, fault["type"].replace("_", "-"))
