"""`make bench`: every benchmark, one after the other."""

from __future__ import annotations

from benchmarks.double_charge import main

main()
