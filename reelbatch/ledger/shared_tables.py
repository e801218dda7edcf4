"""Tables through which the workers of a results table act as one; schema.py says what each is for."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, PrimaryKeyConstraint, String, Table, Text

from reelbatch.ledger.metadata import UtcDateTime, metadata

budgets = Table(
    "budgets",
    metadata,
    Column("api", String, nullable=False),
    Column("account", String, nullable=False),  # its id
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    # What the attempts that were started in between add up to. Where there is no row, it is reckoned from them.
    Column("worst_case", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),
    PrimaryKeyConstraint("api", "account", "starts_at", "ends_at"),
)

loads = Table(
    "loads",
    metadata,
    Column("batch", String, primary_key=True),
    Column("digest", String, nullable=False),  # of the manifest's content and of how it is read
    Column("run_id", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),  # null: being read
    Column("plan", Text),  # what was found, as JSON
)

apis = Table(
    "apis",
    metadata,
    Column("api", String, primary_key=True),
    Column("next_start", UtcDateTime, nullable=False),
    Column("taken_at", UtcDateTime),  # when that was written, by the same clock: later than now, it was ahead
)

throttles = Table(
    "throttles",
    metadata,
    Column("payer", String, primary_key=True),
    Column("run_id", String, nullable=False),  # of the worker that heard it
    Column("at", UtcDateTime, nullable=False),
    Column("wait_s", Float, nullable=False),  # from then on, nothing should be sent for that many seconds
)

writers = Table(
    "writers",
    metadata,
    Column("writer", String, primary_key=True),
    Column("writes", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
)
