"""What became of the events so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Each request that is received ends in exactly one of the other counts."""

    received: int = 0
    applied: int = 0  # the results table changed
    repeated: int = 0  # ours, but nothing new
    ignored: int = 0  # not ours, or of a sort that tells us nothing
    refused: int = 0  # not signed, too large, malformed
    failed: int = 0  # the results table could not be written; the API sends it again
