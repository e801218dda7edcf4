"""What machines are told on standard output. Without rich, which takes a while to import."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from reelbatch.printable import json_text


def print_json(value: Any) -> None:
    """One JSON object, and nothing else."""
    sys.stdout.write(json_text(json.dumps(value, ensure_ascii=False, default=_plain)) + "\n")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
