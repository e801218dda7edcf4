"""Text that a spreadsheet shows and does not work out.

A cell that begins like a formula gets an apostrophe before it, as OWASP advises against CSV injection. The blanks,
quotation marks and byte order marks that a program may pass over first do not hide one. Cells that begin with
apostrophes get one more, so that taking one away always gives back what was there.
"""

from __future__ import annotations

import re

_PASSED_OVER = "['\"\t\n\x0b\x0c\r \u00a0\ufeff]*"
_BEGINS = "[=+@\uff1d\uff0b\uff0d\uff20-]"  # and the wide forms, which some take for the narrow ones
FORMULA = f"^(?:{_PASSED_OVER}{_BEGINS}|'*[\t\r\n])"
"""For Python and for Arrow alike."""
_FORMULA = re.compile(FORMULA)


def inert(text: str) -> str:
    """As it may stand in a CSV for spreadsheets."""
    return f"'{text}" if _FORMULA.match(text) else text


def meant(cell: str) -> str:
    """What `inert` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
