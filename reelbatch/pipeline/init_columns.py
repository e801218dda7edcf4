"""What a column may be, by its name in some languages, and by a look at its cells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from reelbatch.domain import DEFAULT_MODEL
from reelbatch.manifest import parsing
from reelbatch.model_table import load_models
from reelbatch.pipeline.init_names import AVOID, DESCRIPTIONS, NAMES, POSITIONS, TITLES

_EXACT, _WITHIN, _GLUED, _AVOIDED, _CONTENT = 10.0, 6.0, 4.0, 7.0, 10.0
"""What a name is worth: the whole of it, some of its words, the end of one word; and what all cells are worth."""
_MOST = 0.5
"""Of a column whose name says what it is: the others are said, and do not hide these."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORDS = re.compile(r"[^\W_]+")
_LONGEST_GLUED = 4  # letters of a name that may stand at the end of another word
_ENDING = r"\.(?:jpe?g|jfif|png|webp|hei[cf]|avif|jp2|tiff?|bmp)"
_IMAGE = re.compile(rf"(?:https?:)?//\S+|\S.*{_ENDING}\s*(?:[?#].*)?|(?:api-assets|saved-items)/.+", re.IGNORECASE)
_PICTURE_ADDRESS = re.compile(rf"{_ENDING}\b|image|img|photo|cdn|media", re.IGNORECASE)
_CAMERA = re.compile(
    r"\b(?:slow\w*|camera|pan|pans|panning|zoom\w*|orbit\w*|tilt\w*|dolly|push-in|shot|still|gentl[ey]|drift\w*|sweeps?"
    r"|kamera\w*|langsam\w*|schwenk\w*|fahrt|camara|lent[oae]\w*|plano|giro|travelling|caméra|cámara|panoramique|ralenti)\b"
    r"|カメラ|镜头|카메라",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?=.*\d)[^\s,]{1,64}")
_TAG = re.compile(r"<[a-z/!]|&lt;[a-z/!]|&nbsp;", re.IGNORECASE)
_PIXELS_FROM = 64
_SHORTEST_PROMPT = 12


def plain_name(name: str) -> str:
    """`name` in small letters, without accents and signs: `g:Image_Link` becomes `image link`."""
    bare = unicodedata.normalize("NFKD", _CAMEL.sub(" ", name.replace("\ufeff", "")).replace("ß", "ss"))
    words = _WORDS.findall("".join(letter for letter in bare if not unicodedata.combining(letter)).casefold())
    return " ".join(words[1:] if len(words) > 1 and words[0] == "g" else words)


class Cells(NamedTuple):
    """One column's filled cells, each once, and how many are blank."""

    filled: Sequence[str]
    rows: int
    blank: int

    @classmethod
    def of(cls, cells: Sequence[str]) -> Cells:
        """From a sample."""
        return cls([cell for cell in cells if cell], len(cells), sum(not cell for cell in cells))

    def share(self, holds: Callable[[str], object]) -> float:
        """Of the filled cells, those for which `holds` is true: 0 to 1."""
        return sum(bool(holds(cell)) for cell in self.filled) / len(self.filled) if self.filled else 0.0

    @property
    def has_html(self) -> bool:
        """Whether some of it is HTML."""
        return any(map(_TAG.search, self.filled))


def is_image(cell: str) -> bool:
    """Whether it looks like an image's path or address."""
    found = _IMAGE.match(cell)
    return found is not None and ("//" not in cell or _PICTURE_ADDRESS.search(cell) is not None)


def _is_words(cell: str) -> bool:
    return any(map(str.isalpha, cell)) and not is_image(cell) and "://" not in cell


def _speaks_of_a_camera(cell: str) -> bool:
    return len(cell) >= _SHORTEST_PROMPT and _CAMERA.search(cell) is not None


def _is_pixels(cell: str) -> bool:
    return cell.isdecimal() and _PIXELS_FROM <= int(cell[:7]) <= parsing.MAX_PIXELS


def _is_seconds(cell: str) -> bool:
    try:
        return 1 <= parsing.seconds(cell) <= load_models().max_seconds
    except parsing.CellError:
        return False


def _is_flag(cell: str) -> bool:
    try:
        parsing.flag(cell)
    except parsing.CellError:
        return False
    return True


def _is_model(cell: str) -> bool:
    table = load_models()
    return cell in table.models or cell in table.aliases or cell == DEFAULT_MODEL


def _is_resolution(cell: str) -> bool:
    return cell.lower() in _known_resolutions()


@cache
def _known_resolutions() -> frozenset[str]:
    return frozenset(each for model in load_models().models.values() for each in model.resolutions)


@dataclass(frozen=True, slots=True)
class Role:
    """What a column can be taken for.

    Attributes:
        names: plain names of such columns, the likeliest first.
        avoid: words of names that speak against it.
        holds: whether a cell is one of such a column; None: any is.
        needs: share of the cells for which it has to hold.
        alone: the share from which the cells alone say it, whatever the column is called; None: they never do.
        cells: in words, what its cells are.
    """

    names: tuple[str, ...]
    avoid: tuple[str, ...] = ()
    holds: Callable[[str], object] | None = None
    needs: float = 0.0
    alone: float | None = None
    cells: str = ""


def _role(name: str, holds: Callable[[str], object] | None = None, cells: str = "", **bounds: float) -> Role:
    return Role(NAMES[name], AVOID.get(name, ()), holds, cells=cells, **bounds)


ROLES: Mapping[str, Role] = {
    "image_path": _role("image_path", is_image, "look like images", needs=0.5, alone=0.5),
    "end_image_path": _role("end_image_path", is_image, "look like images", needs=0.5),
    "prompt": _role("prompt", _speaks_of_a_camera, "say how the camera moves", alone=0.5),
    "row_key": _role("row_key"),
    "end_seconds": _role("end_seconds", _is_seconds, "are seconds from 1 to 60", needs=_MOST),
    "resolution": _role("resolution", _is_resolution, "are resolutions of the API", needs=_MOST, alone=0.95),
    "model": _role("model", _is_model, "are models of the API", needs=0.5, alone=0.95),
    "audio": _role("audio", _is_flag, "are yes or no", needs=_MOST),
    "width": _role("width", _is_pixels, "are pixels", needs=1.0),
    "height": _role("height", _is_pixels, "are pixels", needs=1.0),
    "name": _role("name", _is_words, "are words", needs=0.5),
}
"""Our columns. What is needed of width, height and model keeps a product's own out."""
TITLE = Role(TITLES, AVOID["title"], _is_words, needs=0.5, cells="are words")
DESCRIPTION = Role(DESCRIPTIONS, AVOID["description"], _is_words, needs=0.5, cells="are words")
POSITION = Role(POSITIONS)


def name_score(role: Role, column: str) -> float:
    """How much a column's name speaks for `role`; 0: not at all; less: against it."""
    plain = plain_name(column)
    places = enumerate(role.names)
    score = max((_likeness(name, plain) * (1 - place / len(role.names) / 2) for place, name in places), default=0.0)
    return score - _AVOIDED * (score > 0 and not set(role.avoid).isdisjoint(plain.split()))


def _likeness(name: str, plain: str) -> float:
    if name == plain:
        return _EXACT
    if len(name) > 1 and f" {name} " in f" {plain} ":
        return _WITHIN
    glued = len(name) >= _LONGEST_GLUED and any(
        word.endswith(name) or word.startswith(name) for word in plain.split()
    )
    return _GLUED if glued else 0.0


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A column that may be what is looked for; the larger `score`, the likelier."""

    score: float
    column: str = field(compare=False)
    why: str = field(compare=False)


def candidates(role: Role, samples: Mapping[str, Cells], taken: Collection[str] = ()) -> list[Candidate]:
    """Columns that may be `role`, the likeliest first; of equals the one that stands first."""
    found = (_candidate(role, column, cells) for column, cells in samples.items() if column not in taken)
    return sorted(filter(None, found), key=lambda each: -each.score)


def _candidate(role: Role, column: str, cells: Cells) -> Candidate | None:
    named = name_score(role, column)
    if not cells.filled and cells.rows:
        return None
    share = cells.share(role.holds) if role.holds else 0.0
    enough = role.alone is not None and share >= role.alone and named >= 0
    if (cells.rows and share < role.needs) or not (named > 0 or enough):
        return None
    reasons = [*(["its name"] if named > 0 else []), *([f"{share:.0%} of its cells {role.cells}"] if share else [])]
    return Candidate(named + _CONTENT * share - cells.blank / max(1, cells.rows), column, " and ".join(reasons))


def is_code(cell: str) -> bool:
    """Whether it looks like an article's number: no blanks, a digit, and no price."""
    return _CODE.fullmatch(cell) is not None and not re.fullmatch(r"\d*[.,]\d+", cell) and not is_image(cell)
