"""Texts that are shown in one line."""

import numpy as np
import pytest

from cnn_lstm_hyperopt.utils.text import printable, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a b", "a b"), ("日本\u3000é", "日本\u3000é"), ("a\nb\x1b", "a\\nb\\x1b"), ("\u0a00\ue000", "\\u0a00\\ue000")],
)
def test_characters_without_a_glyph_become_escapes(text, expected):
    """U+0A00 is not assigned, U+E000 is for private use; a wide space is a space."""
    assert printable(text) == expected


@pytest.mark.parametrize("value", ["a", 1.5, 3, True])
def test_a_scalar_of_numpy_is_shown_like_the_same_value_of_python(value):
    assert shown(np.asarray(value)[()]) == shown(np.asarray(value)) == shown(value)
