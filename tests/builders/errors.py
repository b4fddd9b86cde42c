"""Check of an error's type, code and field, whatever its text."""

import contextlib
from collections.abc import Iterator

import pytest

from cnn_lstm_hyperopt.errors import HyperoptError


@contextlib.contextmanager
def raises(kind: type[HyperoptError], code: str, field: str | None = None) -> Iterator[list[str]]:
    """Expect an error; yield a list that afterwards holds its text."""
    text: list[str] = []
    with pytest.raises(kind) as caught:
        yield text
    found = type(caught.value), caught.value.code, caught.value.field if field is not None else None
    assert found == (kind, code, field), found
    text.append(str(caught.value))
