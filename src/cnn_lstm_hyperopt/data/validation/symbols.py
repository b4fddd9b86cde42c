"""Checks of the names of symbols. A valid name is safe on the screen, in file names and in spreadsheets."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import enumerated, shown_name

_LONGEST = 64
_INSIDE = frozenset(".-_^=&+$#!'()~% @:")
_FIRST = frozenset("^_$#")
_ALIKE = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE")
"""Names of alphabets with letters that look like letters of another alphabet."""
_RULE = "letters, digits, inner spaces and . - _ ^ = & + $ # ! ' ( ) ~ % @ :, first a letter, a digit or one of ^ _ $ #"


def symbol_error(name: str) -> str | None:
    """Return a text about the error in the name of a symbol, or None if the name is valid.

    Symbols are part of file names, of the output and of CSV files. In a spreadsheet a leading ``= + - @`` starts a formula.
    """
    if not name:
        return "is empty"
    if len(name) > _LONGEST:
        return f"has {len(name):,} characters; at most {_LONGEST} are allowed"
    if name[0] in "=+-@":
        return f"begins with {name[0]}, which starts a formula in a spreadsheet"
    invalid = next((letter for letter in name if not (letter.isalnum() or letter in _INSIDE)), None)
    if invalid is not None:
        return f"holds {_letter(invalid)}"
    if not (name[0].isalnum() or name[0] in _FIRST):
        return f"begins with {name[0]!r}"
    other = next((letter for letter in name if unicodedata.normalize("NFKC", letter) != letter), None)
    if other is not None:
        return f"holds {_letter(other)}, which looks like {unicodedata.normalize('NFKC', other)!r}"
    return _mixed_alphabets(name)


def _mixed_alphabets(name: str) -> str | None:
    first: dict[str, str] = {}
    for letter in name:
        alphabet = unicodedata.name(letter, "").split(" ")[0]
        if alphabet in _ALIKE:
            first.setdefault(alphabet, letter)
    if len(first) < 2:
        return None
    return f"mixes letters of several alphabets that look alike: {', '.join(_letter(each) for each in first.values())}"


def _letter(letter: str) -> str:
    """Return a character with its Unicode name, such as ``'А' (CYRILLIC CAPITAL LETTER A)``.

    An invisible character is shown by its code.
    """
    shown = repr(letter) if letter.isprintable() else f"U+{ord(letter):04X}"
    return f"{shown} ({unicodedata.name(letter, 'a control character')})"


def require_symbols(names: Sequence[str]) -> None:
    """Raise an error unless all names of symbols are valid.

    Raises:
        DataError: a name is invalid. The text has all invalid names.
    """
    errors = [f"'{shown_name(name)}' {error}" for name, error in ((n, symbol_error(n)) for n in names) if error]
    if errors:
        text = f"symbols must be names of {_RULE}, but {enumerated(errors, separator='; ')}"
        raise DataError(text, field="data.symbols", code="bad-symbol")


def unique_symbols(symbols: Sequence[str]) -> list[str]:
    """Return the symbols without surrounding spaces, in the Unicode form NFC.

    Raises:
        DataError: a name is invalid, or two names are equal or differ only in case.
    """
    names = [composed(symbol.strip()) for symbol in symbols]
    require_symbols(names)
    twice = sorted(name for name, count in Counter(name.upper() for name in names).items() if count > 1)
    if twice:
        text = f"symbols names {enumerated(twice)} twice; name each symbol once"
        raise DataError(text, field="data.symbols", code="duplicate-symbol")
    return names


def composed(name: str) -> str:
    """Return a name in the Unicode form NFC, in which a letter with an accent is one character.

    File names of macOS have two.
    """
    return unicodedata.normalize("NFC", name)
