"""What machines are told on standard output. Without rich, which takes a while to import."""

from __future__ import annotations

import codecs
import json
import sys
from datetime import datetime
from typing import Any

from reelbatch.printable import json_text


def print_json(value: Any) -> None:
    """One JSON object, and nothing else; where standard output is not UTF-8, all other letters are escaped."""
    escaped = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    sys.stdout.write(json_text(json.dumps(value, ensure_ascii=escaped, default=_plain)) + "\n")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
