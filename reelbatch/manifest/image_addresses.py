"""What stands where an image's address belongs, and is none: each kind with what to do."""

from __future__ import annotations

import json
import re

from reelbatch.manifest.image_cells import ENDING
from reelbatch.manifest.parsing import hidden
from reelbatch.storage.errors import Trouble

_SEVERAL = re.compile(
    r"([,;|]|(?<!\s)\s|<br ?/?>)\s*https?://"
    r"|^https?://\S*?([,;|])\s*//\w"
    rf"|^[^?#]*{ENDING}(?:(?:\?[^/]*)?([^\w\s,;|(/=&.?%-]{{1,3}})\s*)?https?://",
    re.IGNORECASE,
)
_FIRST_OF_SEVERAL = re.compile(rf"{ENDING}\s*([,;|])", re.IGNORECASE)
_AN_ENDING = re.compile(rf"{ENDING}\s*\Z", re.IGNORECASE)
_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?/\S", re.IGNORECASE)
_DROPBOX_FILE = re.compile(r"[?&](dl|raw)=1\b")
_PATH = "Write a path that this machine sees, relative to the manifest's folder and with /."


_KINDS = (
    (r"//[\w-]+\.", "a web address without its scheme", "Write https: before it."),
    (r"www\.", "a web address without its scheme", "Write https:// before it."),
    (r"https?:/?[^/]", "a web address with slashes missing", "Write https:// with two slashes."),
    (r"https?(;|:?\\\\|//|/:)", "a web address whose beginning is misspelt", "Write https:// there."),
    (
        r"(blob|cid|about|javascript):",
        "an address that only one program knows",
        "Save the image as a file and name that.",
    ),
    (
        r"=\s*[A-Z.]+\(",
        "a formula in place of an address",
        "Write the address itself: paste the values in place of formulas.",
    ),
    (r"""[\[{].*(https?://|["']\s*[\]}]$)""", "a list or object in place of an address", "Write the address alone."),
    (r"(file://)?[A-Za-z]:[\\/]", "a path of a Windows machine", _PATH),
    (r"\\\\[^\\]", "a path of a Windows network", _PATH),
    (r"data:(?!//)", "the image itself in place of its address", "Save it as a file and name that."),
    (r"\s*<", "HTML in place of an address", "Write only the address that its src names."),
    (
        r"(?![a-z][a-z0-9+.-]*://)[^()]*\(https?://[^\s()]+\)",
        "a name with an address in brackets, as Airtable exports it",
        "Write the address alone; Airtable's expire after some hours: download the image and name the file.",
    ),
    (r"""(['"]).*\1$""", "in quotation marks of its own", "Remove them."),
    (
        r"https?://(drive|docs)\.google\.com/(file/d/|open\?|drive/)",
        "a share link of Google Drive: a page about the image, not the image",
        "Download it and name the file, or use a direct address.",
    ),
)
_LOOK_ALIKE = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), Trouble(what, remedy)) for pattern, what, remedy in _KINDS
)


def address_trouble(stated: str) -> Trouble | None:
    """Why `stated` can't be an image's path or address, by its looks; None where it may be one."""
    if sign := hidden(stated):
        return Trouble(f"contains an invisible character ({sign})", "Remove it.")
    if trouble := _on_the_web(stated):
        return trouble
    return next((trouble for pattern, trouble in _LOOK_ALIKE if pattern.match(stated)), None)


def remedy_of_missing(stated: str) -> str | None:
    """What to do about `stated`, which is the path of no file, where it looks like something else."""
    if sign := _between_images(stated):
        return f"Name one image; split: {{image_path: {json.dumps(sign)}}} takes the first of several."
    if _HOST.match(stated):
        return "Write https:// before it, if it is a web address; a path is relative to the manifest's folder."
    return None


def _between_images(stated: str) -> str | None:
    """What stands between several files, of which the last ends the cell too."""
    first = _FIRST_OF_SEVERAL.search(stated)
    last = _AN_ENDING.search(stated) if first and not {"?", "#"} & {*stated} else None
    return first[1] if first and last and first.end() < last.start() else None


def _on_the_web(stated: str) -> Trouble | None:
    if not stated.lstrip().startswith(("<", "=", "[", "{")) and (several := _SEVERAL.search(stated)):
        sign = several[1] or several[2] or several[3]
        split = f"; split: {{image_path: {json.dumps(sign)}}} takes the first of them" if sign else ""
        return Trouble("several addresses in one cell", f"Name one{split}.")
    if re.match(r"https?://", stated, re.IGNORECASE) and _between_images(stated):
        return Trouble("several images in one cell", "Name one.")
    if re.match(r"https?://(www\.)?dropbox\.com/", stated) and not _DROPBOX_FILE.search(stated):
        what = "a share link of Dropbox: a page about the image, not the image"
        return Trouble(what, "Write dl=1 at its end in place of dl=0.")
    return None
