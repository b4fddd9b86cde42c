"""The form of a JSON file of a model, which anybody may have written."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cnn_lstm_hyperopt.config.messages import explain


class StoredForm(BaseModel):
    """A mapping in such a file: no other keys, numbers are finite, nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @classmethod
    def read(cls, raw: Any, place: str = "") -> Self:
        """``raw`` as this form.

        Raises:
            ValueError: it is not of this form; a line for each fault, with ``place`` before it.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            lines = explain(error.errors(include_url=False), cls)
            raise ValueError("\n".join(f"{place}{line}" for line in lines)) from error
