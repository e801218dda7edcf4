"""The text of a cell that holds HTML, as shops export their descriptions.

No parser of the standard library: a million descriptions would take it minutes. Each pattern reads a tag to the next
`<` at most, so that no cell, however it is damaged, takes longer than its length.
"""

from __future__ import annotations

import html
import re

_UNSEEN = (
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<script\b", re.IGNORECASE), re.compile("</script[^<>]*>", re.IGNORECASE)),
    (re.compile(r"<style\b", re.IGNORECASE), re.compile("</style[^<>]*>", re.IGNORECASE)),
)
_INSIDE = r"""(?: [^<>"'] | "[^"<]*" | '[^'<]*' )*+ > | [^<>]* >"""
_APART = "address article aside blockquote br dd div dl dt figure footer h[1-6] header hr img li main ol option p pre"
_APART += " section table tbody td tfoot th thead tr ul"
_BREAK = re.compile(rf"< /? (?: {'|'.join(_APART.split())} ) \b (?: {_INSIDE} )", re.VERBOSE | re.IGNORECASE)
_TAG = re.compile(rf"< [a-z/!?] (?: {_INSIDE} )", re.VERBOSE | re.IGNORECASE)

_ENCODED = re.compile(r"&lt;[a-z/!]", re.IGNORECASE)


def text_of(cell: str) -> str:
    r"""`cell` without tags, comments, scripts and styles; entities and blanks as a browser shows them.

    OpenCart keeps HTML as text (`&lt;p&gt;`), and WooCommerce writes a line's end as `\n`.
    """
    cell = cell.replace("\\n", " ")
    if "<" not in cell and _ENCODED.search(cell):
        cell = html.unescape(cell)
    if "<" in cell:
        for opening, closing in _UNSEEN:
            cell = _without(cell, opening, closing)
        cell = _TAG.sub("", _BREAK.sub(" ", cell))
    return " ".join(html.unescape(cell).split())


def _without(cell: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """`cell` without what stands between; what is not closed hides the rest, as in a browser."""
    kept, at = [], 0
    while begin := opening.search(cell, at):
        kept.append(cell[at : begin.start()])
        if (end := closing.search(cell, begin.end())) is None:
            return "".join(kept)
        at = end.end()
    return "".join([*kept, cell[at:]])
