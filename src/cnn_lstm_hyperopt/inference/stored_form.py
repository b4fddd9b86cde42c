"""Base class for the content of a model's JSON files.

The class checks all content, because any program may have written the file.
"""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cnn_lstm_hyperopt.config.messages import explain
from cnn_lstm_hyperopt.errors import Violation


class FormError(ValueError):
    """A JSON file violates rules. The text has a line for each violated rule.

    Attributes:
        violations: the key and the code of each violated rule.
    """

    def __init__(self, text: str, field: str = "", code: str = "", violations: Sequence[Violation] = ()) -> None:
        super().__init__(text)
        self.violations = tuple(violations) or (Violation(field, code),)


class StoredForm(BaseModel):
    """Base class of a mapping in a JSON file of a model. Unknown keys, infinite numbers and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @classmethod
    def read(cls, raw: Any, place: str = "") -> Self:
        """Check the JSON value ``raw`` and return it as an instance of the class.

        Raises:
            FormError: ``raw`` violates a rule. The text has a line for each error, which begins with ``place``.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            found = error.errors(include_url=False)
            text = "\n".join(f"{place}{problem.text}" for problem in explain(found, cls))
            raise FormError(text, violations=[_violation(each) for each in found]) from error


def _violation(fault: Any) -> Violation:
    """Return the key and the code of an error. The text of a rule about several fields begins with the first field."""
    field = ".".join(map(str, fault["loc"])) or str(fault["msg"]).removeprefix("Value error, ").split(" ")[0]
    return Violation(field, fault["type"].replace("_", "-"))
