r"""Text that comes from outside, as it may reach a terminal, a log or a page: what acts there is spelt out.

A key, a prompt, a file's name or an answer of the API may hold whatever it likes. A terminal obeys escape sequences,
carriage returns and backspaces; marks of direction make a line read other than it is. Each becomes what Python
writes for it (`\x1b`, `\u202e`); everything that is only to be read stays as it is.
"""

from __future__ import annotations

import logging
import re
from typing import IO

_ACTING = "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but for tab and line feed; 0x80 to 0x9f act in 8-bit terminals
_TURNING = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # Unicode's Bidi_Control, and its two line ends
_HALVES = "\ud800-\udfff"  # a file's name that is no UTF-8; no encoding writes them
_UNSAFE = re.compile(f"[{_ACTING}{_TURNING}{_HALVES}]")
_UNSAFE_IN_LINE = re.compile(f"[\t\n{_ACTING}{_TURNING}{_HALVES}]")
_HALF = re.compile(f"[{_HALVES}]")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|#~&]")


def is_utf8(text: str) -> bool:
    """Whether a table, JSON or an address can hold it: Python keeps bytes of a file's name that are no UTF-8."""
    return _HALF.search(text) is None


def printable(text: str) -> str:
    """Text of several lines with nothing in it that a terminal acts on."""
    return _UNSAFE.sub(_spelt_out, text)


def one_line(text: str) -> str:
    """The same for what belongs into one line: no cell writes a line of its own."""
    return _UNSAFE_IN_LINE.sub(_spelt_out, text)


def markdown(text: str) -> str:
    """One line of text that Markdown leaves as it is: no link, image, HTML, emphasis or table cell comes of it."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def json_text(text: str) -> str:
    """JSON in which the same characters are escaped, as JSON escapes them; it means what it meant."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def counted(number: int, word: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def replace_unprintable(*streams: IO[str]) -> None:
    r"""Characters that a stream's encoding lacks come out as `\u898b` rather than as an error."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class Printable(logging.Filter):
    """Makes a logger's records printable, for whatever handlers there are: each message one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        record.msg, record.args = one_line(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = printable(logging.Formatter().formatException(record.exc_info))
        return True


def _spelt_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
