"""One cell: any scalar as text, and text as the number, flag or name that its column holds."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from reelbatch.domain import FieldKind
from reelbatch.model_table import RequestIssue

MAX_TEXT = 100_000
"""Characters in one cell; a longer prompt is a mistake in the file."""
MAX_KEY = 500
"""Characters of a row key; a database index can't hold much more."""
MAX_SHOWN = 200
"""Characters of a cell that a message quotes."""
MAX_PIXELS = 100_000
_MAX_NAME = 200
"""Characters of a model's or resolution's name."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_INEXACT = 2.0**53
"""From here on not every whole number is one in floating point."""
_EXACT_BELOW = {2: 2.0**11, 4: 2.0**24}
"""The same of floating point in 2 and in 4 bytes."""
_ERRORS = """
    #N/A #REF! #NAME? #VALUE! #DIV/0! #NULL! #NUM! #SPILL! #CALC! #ERROR! #FIELD! #BLOCKED! #CONNECT! #BUSY! #UNKNOWN!
    #EXTERNAL! #PYTHON! #GETTING_DATA #NV #BEZUG! #WERT! #ZAHL! #ÜBERLAUF! #KALK! #FELD! #NOM? #VALEUR! #NOMBRE! #NUL!
    #PROPAGATION! #CALCUL! #¡REF! #¿NOMBRE? #¡VALOR! #¡NUM! #¡NÚM! #¡NULO! #¡DIV/0! #¡DESBORDAMIENTO! #¡CALC! #N/D
    #NOME? #VALOR! #NÚM! #NULO! #RIF! #VALORE! #NULLO! #N/B #VERW! #NAAM? #WAARDE! #DEEL/0! #GETAL! #LEEG! #N/D! #ADR!
    #NAZWA? #ARG! #DZIEL/0! #LICZBA! #Н/Д #ССЫЛКА! #ИМЯ? #ЗНАЧ! #ДЕЛ/0! #ЧИСЛО! #ПУСТО! #SAKNAS! #REFERENS! #NAMN?
    #VÄRDEFEL! #DIVISION/0! #OGILTIGT! #I/T #REFERENCE! #NAVN? #VÆRDI! #VERDI! #PUUTTUU! #VIITTAUS! #NIMI? #ARVO!
    #JAKO/0! #LUKU! #ODKAZ! #NÁZEV? #HODNOTA! #DĚLENÍ_NULOU! #ČÍSLO! #NENÍ_K_DISPOZICI #HIÁNYZIK #HIV! #NÉV? #ÉRTÉK!
    #ZÉRÓOSZTÓ! #SZÁM! #YOK #BAŞV! #AD? #DEĞER! #SAYI/0! #SAYI!
"""  # noqa: RUF001 - Russian, and meant
ERROR_VALUES = frozenset(_ERRORS.split()).union(f"Err:{number}" for number in range(501, 541))
"""What a spreadsheet writes where a formula has no value: Excel in its languages, and LibreOffice."""
_UNSAVED = "#UNSAVED FORMULA! "
NOTHINGS = frozenset(
    {"NaN", "<NA>", "NaT", "N/A", "n/a", "NA", "(null)", "\\N", "undefined", "[object Object]", "Loading..."}
).union(word for name in ("nan", "none", "null", "nil") for word in (name, name.upper(), name.title()))
"""What scripts write where there is nothing."""
_INVISIBLE_CLASS = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\u2800\u3164"
    "\ufeff\uffa0\ufff9-\ufffb"
)
INVISIBLE = re.compile(f"[{_INVISIBLE_CLASS}]")
_AT_ENDS = re.compile(rf"\A[\s{_INVISIBLE_CLASS}]+|[\s{_INVISIBLE_CLASS}]+\Z")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Nested(str):
    """The text of a cell that is a list, a mapping or another thing without one obvious text."""

    __slots__ = ()


class Rounded(str):
    """The text of a number too long for floating point: its last digits may be other ones than were meant."""

    __slots__ = ()


class CellError(Exception):
    """A cell can't be taken: what is wrong and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


def plain(cell: Any) -> str:
    """`cell` as text: "" for nothing, `12` for 12 and 12.0, `true` for True; other things become `Nested`."""
    if isinstance(cell, str):
        return str(cell)
    if cell is None:
        return ""
    if hasattr(cell, "item") and getattr(cell, "ndim", 0) == 0:  # a NumPy scalar
        bound, value = _EXACT_BELOW.get(getattr(cell.dtype, "itemsize", 0)), cell.item()
        if bound is not None and isinstance(value, float):
            text = _scalar(float(str(cell)))  # 0.1, and not the 0.10000000149011612 that 64 bits make of it
            return Rounded(text) if bound <= abs(value) < math.inf else text
        cell = value
    return _scalar(cell)


def _scalar(cell: Any) -> str:
    match cell:
        case bool():
            text = "true" if cell else "false"
        case float() | Decimal():
            text = _decimal(cell)
        case date() | time():
            text = cell.isoformat() if cell == cell else ""  # noqa: PLR0124 - pandas' NaT differs from itself
        case int() | UUID() | os.PathLike():
            text = str(cell)
        case _:
            text = _other(cell)
    return text


def _decimal(cell: float | Decimal) -> str:
    if math.isnan(cell):
        return ""
    if math.isinf(cell):
        return str(cell)
    if cell == int(cell):
        exact = isinstance(cell, Decimal) or abs(cell) < _INEXACT
        return str(int(cell)) if exact else Rounded(int(cell))
    return format(cell, "f") if isinstance(cell, Decimal) else repr(cell)


def _other(cell: Any) -> str:
    if type(cell).__name__ in {"NAType", "NaTType"}:  # pandas' own nothings
        return ""
    with suppress(TypeError, ValueError, RecursionError):
        return Nested(json.dumps(cell, ensure_ascii=False))
    return Nested(repr(cell))


def storable(text: str, limit: int = MAX_TEXT) -> str:
    """`text` without what no database and no terminal takes, cut to `limit` characters."""
    return _UNSTORABLE.sub("\ufffd", text if len(text) <= limit else text[: limit - 1] + "…")


def trimmed(text: str) -> str:
    """`text` without blanks and invisible characters at its ends."""
    return text.strip() if text.isascii() else _AT_ENDS.sub("", text)


def visible(text: str) -> str:
    """`text` with a name in place of each invisible character, for messages."""
    return text if text.isascii() else INVISIBLE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def hidden(text: str) -> str:
    """The name of the first invisible character in `text`; "": there is none."""
    found = None if text.isascii() else INVISIBLE.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def all_sound(texts: Sequence[str], limit: int = MAX_TEXT) -> bool:
    """Whether every text passes `text_fault`: one look at a whole column instead of one at each cell."""
    if not set(map(type, texts)) <= {str} or max(map(len, texts), default=0) > limit:
        return False
    joined = "".join(texts)
    odd = "#" in joined or "Err:" in joined
    if odd and (_UNSAVED in joined or not ERROR_VALUES.isdisjoint(map(str.strip, texts))):
        return False
    if joined.isascii():
        return "\0" not in joined
    return _UNSTORABLE.search(joined) is None and INVISIBLE.search(joined) is None


def text_fault(column: str, text: str, limit: int = MAX_TEXT) -> RequestIssue | None:
    """Why `text` can't be sent or stored as it stands."""
    fault = kind_fault(text) or _sign_fault(column, text)
    if len(text) > limit and not isinstance(text, Nested):
        fault = CellError(f"{len(text):,} characters long, more than {limit:,}", "Shorten it.")
    return finding(column, text, fault) if fault else None


def unsaved_formula(sheet: str, row: int, column: int) -> str:
    """What stands for a formula whose value is not known: no text that is sent."""
    letters = ""
    while column:
        column, place = divmod(column - 1, 26)
        letters = chr(ord("A") + place) + letters
    return f'{_UNSAVED}{letters}{row} of sheet "{sheet}"'


def unsaved_fault(text: str) -> CellError | None:
    """Of a formula whose value the workbook does not have."""
    _, marked, place = text.partition(_UNSAVED)
    if not marked:
        return None
    remedy = "Open the workbook in Excel and save it there, or paste the values in place of the formulas."
    return CellError(f"a formula whose value is not saved in the workbook, in {place.strip()}", remedy)


def kind_fault(text: str) -> CellError | None:
    """Why `text` is no value that could be meant, in whatever column."""
    if fault := unsaved_fault(text):
        return fault
    if isinstance(text, Nested):
        return CellError("not one plain value", "Write text or a number.")
    if isinstance(text, Rounded):
        return CellError("a number so long that its last digits are lost", "Keep the column as text, all the way.")
    if text.strip() in ERROR_VALUES:
        return CellError("an error value of a spreadsheet", "Correct the formula there, or empty the cell.")
    return None


def _sign_fault(column: str, text: str) -> CellError | None:
    if column == "row_key" and (sign := hidden(text)):
        return CellError(f"contains an invisible character ({sign})", "Remove it: it makes another key.")
    if found := _UNSTORABLE.search(text):
        name = "a NUL character" if found[0] == "\0" else "half of a surrogate pair (broken Unicode)"
        return CellError(f"contains {name}", "Remove it, or export the file again.")
    return None


def finding(column: str, value: str, fault: CellError) -> RequestIssue:
    """`fault` as a finding on `column`."""
    shown = "" if _UNSAVED in value else storable(visible(value), MAX_SHOWN)
    return RequestIssue(column, shown, fault.what, fault.remedy)


def seconds(text: str) -> float:
    """A duration in seconds, fractions allowed."""
    value = _number(text)
    if not math.isfinite(value):
        raise CellError("too large", "Write a number of seconds, such as 5.")
    return value


def pixels(text: str) -> int:
    """A width or height."""
    value = _number(text)
    if value != int(value) or not 0 < value <= MAX_PIXELS:
        remedy = "leave it empty, or switch a shop's own column off (columns: {width: null, height: null})."
        raise CellError("not a whole number of pixels", f"Write 1 to {MAX_PIXELS}, {remedy}")
    return int(value)


def flag(text: str) -> bool:
    """Yes or no."""
    if (value := _FLAGS.get(text.lower())) is not None:
        return value
    raise CellError(
        "neither yes nor no",
        "Write true or false (or yes, no, 1, 0), or switch a shop's own column off (columns: {audio: null}).",
    )


def word(text: str) -> str:
    """A name of the API's, as it is written."""
    if len(text) > _MAX_NAME or not text.isprintable() or text in ERROR_VALUES:
        raise CellError("not a name", "Write a short name such as those in configs/models.yaml.")
    return text


def name(text: str) -> str:
    """The same in small letters."""
    return word(text).lower()


PARSERS: Mapping[FieldKind, Callable[[str], Any]] = {
    FieldKind.SECONDS: seconds,
    FieldKind.NAME: name,
    FieldKind.MODEL: word,
    FieldKind.FLAG: flag,
    FieldKind.PIXELS: pixels,
}
"""How a cell becomes what its field holds; texts are taken as they stand."""


def _number(text: str) -> float:
    if _DECIMAL_COMMA.fullmatch(text):
        raise CellError("has a decimal comma", f"Write {text.replace(',', '.')}.")
    if not _NUMBER.fullmatch(text):
        raise CellError("not a number", "Write a number, such as 5.")
    return float(text)
