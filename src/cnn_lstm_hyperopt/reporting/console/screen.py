"""Standard output for a run, which continues even if its terminal is closed."""

import codecs
import io
import logging
import os
import sys
from typing import TextIO

log = logging.getLogger(__name__)

_PLAIN = str.maketrans({"…": "...", "–": "-", "—": "-", "·": "-", "→": "->", "×": "x", "≤": "<=", "≥": ">=", "±": "+-"})
"""Plain replacements of characters that some encodings do not have."""
PLAIN_CHARACTERS = "cnn_lstm_hyperopt.plain"
"""Name of the codec error handler for characters that the encoding does not have.

The handler writes a plain replacement or "?".
"""


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(each if each.isascii() else "?" for each in missing.translate(_PLAIN)), error.end


codecs.register_error(PLAIN_CHARACTERS, _in_plain_characters)


class LastingOutput:
    """Stream that writes to the current standard output, and drops text that can't be written instead of raising an error.

    Writing fails if the reader of a pipe ends (``| head``), the terminal closes or the disk is full; ``run.log`` has all
    text. Characters that the encoding does not have are replaced.
    """

    def __init__(self) -> None:
        self._lost = False

    @property
    def encoding(self) -> str:
        """Encoding of standard output; rich draws tables with the characters of this encoding."""
        return getattr(self._stream(), "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return True if standard output is a terminal that is still open."""
        stream = self._stream()
        return not self._lost and stream is not None and not stream.closed and stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor of standard output."""
        stream = self._stream()
        if stream is None:
            raise io.UnsupportedOperation("there is no standard output")
        return stream.fileno()

    def write(self, text: str, /) -> int:
        """Write the text to standard output; drop the text if standard output can't be written."""
        stream = self._stream()
        if stream is None or self._lost:
            return len(text)
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError as error:
                encoding = getattr(stream, "encoding", None) or error.encoding  # the error may name "charmap"
                stream.write(text.encode(encoding, PLAIN_CHARACTERS).decode(encoding))
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._lose(stream, error)
        return len(text)

    def flush(self) -> None:
        """Write the buffer of standard output; ignore errors."""
        stream = self._stream()
        if stream is None or self._lost:
            return
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            self._lose(stream, error)

    @staticmethod
    def _stream() -> TextIO | None:
        """Return the real standard output. During a live view, rich replaces ``sys.stdout`` by a proxy."""
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)

    def _lose(self, stream: TextIO, error: Exception) -> None:
        if isinstance(error, BlockingIOError):  # the pipe is full at the moment
            return
        self._lost = True
        discard(stream)
        log.warning("the output is closed; the run continues (%s)", error)


def discard(stream: TextIO) -> None:
    """Redirect a broken stream to the null device. Without this, Python writes the stream's buffer at exit and fails."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # the stream has no descriptor, or is closed
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
