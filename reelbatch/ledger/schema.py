"""The results table and the tables beside it: one definition for SQLite and Postgres.

generations  one row for each video that a manifest row was, or is to be, made into; key (batch, row_key, generation)
results   a view: one line for each manifest row, its last generation that has an id, else its last
orders    what was asked to be made anew, and whether all of it has been
attempts  one row for each POST, kept over reruns, so the books still add up after any number of them
uploads   SHA-256 of an image's bytes → the path that the API knows it by
runs      who ran, when, under which cap, and why it ended
decisions what someone found out about rows in doubt: who, when, and what
verdicts  what reviewers said of videos: who, when, and what was taken back
batches   the running sums of a batch's money; a cap is reserved against its worst case
budgets   what an account's requests of one period have cost: a budget is reserved against it
prices    what videos cost in truth, by price class
accounts  whose keys were used: the account behind each, its tier and balance as last seen
loads     who read a batch's manifest last, or reads it now: several workers read it once
apis      what all workers of one API share: when the next create may start, and a lock to count renders under
throttles the last "too fast" of each account, which holds for all of its workers
writers   a counter for each process at work in Postgres, by which it knows whether a lost COMMIT took place
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    column,
    table,
    text,
)
from sqlalchemy.types import TypeEngine

from reelbatch.domain import SUMS, RowState
from reelbatch.ledger.columns import COLUMNS, ColumnKind, ResultColumn
from reelbatch.ledger.metadata import UtcDateTime, metadata
from reelbatch.ledger.shared_tables import apis, budgets, loads, throttles, writers

__all__ = [
    "COMPARED", "SHOWN", "TAKEN", "VIEW", "UtcDateTime", "accounts", "apis", "attempts", "batches", "budgets",
    "decisions", "generations", "loads", "metadata", "orders", "prices", "results", "runs", "schema_version",
    "throttles", "uploads", "verdicts", "writers",
]  # fmt: skip

_SQL_TYPES: Mapping[ColumnKind, type[TypeEngine[Any]]] = {
    ColumnKind.WORD: String,
    ColumnKind.TEXT: Text,
    ColumnKind.INTEGER: Integer,
    ColumnKind.LARGE_INTEGER: BigInteger,
    ColumnKind.FLOAT: Float,
    ColumnKind.BOOLEAN: Boolean,
    ColumnKind.TIME: UtcDateTime,
}


def _column(each: ResultColumn) -> Column[Any]:
    default = None if each.default is None else text(each.default)
    return Column(each.name, _SQL_TYPES[each.kind](), nullable=each.nullable, server_default=default)


def _partial_index(name: str, where: str, *columns: Column[Any]) -> None:
    Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def _none_of(*states: RowState) -> str:
    return " AND ".join(f"state <> '{state}'" for state in states)


# Not as IN: SQLite makes a table of a longer list for every row that is checked, which takes as long as the insert.
_KNOWN = " OR ".join(f"state = '{state}'" for state in RowState)
_WITHOUT_ID = _none_of(RowState.QUEUED, RowState.RENDERING, RowState.COMPLETE)

generations = Table(
    "generations",
    metadata,
    *(_column(each) for each in COLUMNS),
    PrimaryKeyConstraint("batch", "row_key", "generation"),
    CheckConstraint(_KNOWN, name="state_is_known"),
    CheckConstraint(f"video_id IS NOT NULL OR ({_WITHOUT_ID})", name="id_is_known"),
)

_partial_index("results_held", "state IN ('claimed', 'sending')", generations.c.run_id)
_partial_index("results_due", "state IN ('queued', 'rendering')", generations.c.batch, generations.c.due_at)
_partial_index("results_token", "token IS NOT NULL", generations.c.token)
Index("results_state", generations.c.batch, generations.c.state, generations.c.row_number)
# Few rows are in these: further generations, orders, rows that left the manifest.
_partial_index("results_further", "generation > 1", generations.c.batch, generations.c.generation)
_partial_index("results_order", "order_id IS NOT NULL", generations.c.order_id, generations.c.state)
_partial_index("results_request", "request_sha256 IS NOT NULL", generations.c.request_sha256)
Index(
    "results_gone",
    generations.c.batch,
    generations.c.state,
    sqlite_where=text("in_manifest = 0"),
    postgresql_where=text("NOT in_manifest"),
)

results = table("results", *(column(name, each.type) for name, each in generations.columns.items()))
"""The view, to read from."""
_BEATEN = """
    other.batch = generations.batch AND other.row_key = generations.row_key
    AND other.generation <> generations.generation
    AND (
      (other.video_id IS NOT NULL AND generations.video_id IS NULL)
      OR (other.generation > generations.generation
          AND (other.video_id IS NOT NULL OR generations.video_id IS NULL))
    )
"""
SHOWN = f"NOT EXISTS (SELECT 1 FROM generations AS other WHERE {_BEATEN})"  # noqa: S608 - our own words
"""Of `generations`: the row's last generation that has an id, else its last."""
_CLOSED = "EXISTS (SELECT 1 FROM orders WHERE orders.order_id = {0}.order_id AND orders.closed_at IS NOT NULL)"
_PLAIN = f"({{0}}.video_id IS NOT NULL OR {{0}}.order_id IS NULL OR {_CLOSED})"
_OTHER, _OWN = _PLAIN.format("other"), _PLAIN.format("generations")
COMPARED = f"""NOT EXISTS (
    SELECT 1 FROM generations AS other
    WHERE other.batch = generations.batch AND other.row_key = generations.row_key
    AND other.generation <> generations.generation
    AND (({_OTHER} AND NOT {_OWN}) OR (other.generation > generations.generation AND ({_OTHER} OR NOT {_OWN})))
)"""  # noqa: S608 - our own words
"""Of `generations`: the row's last generation that has an id or that any run may send, else its last."""
_TAKEN_BEFORE = f"""
    other.batch = generations.batch AND other.row_key = generations.row_key
    AND other.generation <> generations.generation
    AND CASE
      WHEN coalesce(other.verdict, '') = 'approved' AND coalesce(generations.verdict, '') <> 'approved' THEN 1
      WHEN coalesce(other.verdict, '') <> 'approved' AND coalesce(generations.verdict, '') = 'approved' THEN 0
      WHEN {_BEATEN} THEN 1
      ELSE 0 END = 1
    """
TAKEN = f"NOT EXISTS (SELECT 1 FROM generations AS other WHERE {_TAKEN_BEFORE})"  # noqa: S608 - our own words
"""Of `generations`: the row's approved video, the last one if there are several; else as `SHOWN`."""
LAST = """NOT EXISTS (
    SELECT 1 FROM generations AS later
    WHERE later.batch = generations.batch AND later.row_key = generations.row_key
    AND later.generation > generations.generation
)"""
"""Of `generations`: the row's last one."""
VIEW = f"CREATE VIEW results AS SELECT {', '.join(generations.columns.keys())} FROM generations WHERE {TAKEN}"  # noqa: S608 - our own columns

orders = Table(
    "orders",
    metadata,
    Column("order_id", Integer, primary_key=True),
    Column("batch", String, nullable=False),
    Column("selection", Text, nullable=False),  # JSON: what was asked for; the same again goes on with it
    Column("placed_at", UtcDateTime, nullable=False),
    Column("placed_by", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("dropped", Integer, nullable=False, server_default=text("0")),  # rows that were canceled unsent
    Column("closed_at", UtcDateTime),  # null: open
)
Index(
    "orders_open",
    orders.c.batch,
    unique=True,  # one at a time
    sqlite_where=text("closed_at IS NULL"),
    postgresql_where=text("closed_at IS NULL"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("token", String, primary_key=True),
    Column("batch", String, nullable=False),
    Column("row_key", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),  # by the database's clock: which budget's period it counts in
    Column("ended_at", UtcDateTime),
    Column("outcome", String),  # null: the answer is not in yet, or never came
    Column("http_status", Integer),
    Column("message", Text),
    Column("raw_body", Text),  # kept where there was no id
    Column("video_id", String),
    Column("credits_reserved", Integer, nullable=False),  # counts while the attempt may have been charged
    Column("credits_charged", Integer),
    Column("credits_final", Integer),
    Column("generation", Integer, nullable=False, server_default=text("1")),
    Column("same_as", String),  # token of an attempt that had this video's id before
    # Of a video that failed and is not refunded yet, or that no row accepted: the row may have another one by now.
    Column("refund_due_at", UtcDateTime),  # when settle should look at it next; null: no more
    Column("refund_until", UtcDateTime),  # when it stops looking; null: the video has not failed
    Column("unrated", Boolean, nullable=False, server_default=text("false")),  # of unknown rate: nothing is reserved
    Column("odd_figure", Text),  # why a figure of the API was not believed
    Column("settled_at", UtcDateTime),  # when `credits_final` was written last: the final figure, or a later refund
    Column("request_sha256", String),  # of what was asked for, as its row had it then
)
Index("attempts_row", attempts.c.batch, attempts.c.row_key)
_partial_index("attempts_video", "video_id IS NOT NULL", attempts.c.video_id)
_partial_index("attempts_same", "same_as IS NOT NULL", attempts.c.batch)
_partial_index("attempts_refund", "refund_due_at IS NOT NULL", attempts.c.batch, attempts.c.refund_due_at)
_partial_index("attempts_odd", "odd_figure IS NOT NULL", attempts.c.batch)
_partial_index("attempts_unrated", "unrated", attempts.c.batch)

uploads = Table(
    "uploads",
    metadata,
    Column("api", String, nullable=False),  # its address, and the account or what stands for that
    Column("sha256", String, nullable=False),
    Column("file_path", String, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("uploaded_at", UtcDateTime, nullable=False),
    Column("run_id", String, nullable=False),
    PrimaryKeyConstraint("api", "sha256"),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("batch", String, nullable=False),
    Column("command", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Float, nullable=False),
    Column("user_name", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("max_credits", BigInteger),
    Column("reserved", BigInteger, nullable=False, server_default=text("0")),
    Column("spent", BigInteger, nullable=False, server_default=text("0")),
    Column("exit_reason", String),
    Column("secret", String),  # signs the answers that it keeps in rescue files
    # The account when it began, as the API said last; null: it said nothing.
    Column("account", String),
    Column("balance", BigInteger),
    Column("balance_at", UtcDateTime),  # when the API said so
    Column("period_end", UtcDateTime),  # of the subscription
)
_partial_index("runs_open", "ended_at IS NULL", runs.c.heartbeat_at)

batches = Table(
    "batches",
    metadata,
    Column("batch", String, primary_key=True),
    Column("api", String, nullable=False),  # which API its ids belong to
    Column("base", Text, nullable=False),  # where relative image paths start: the manifest's folder, as last read
    Column("worst_case", BigInteger, nullable=False, server_default=text("0")),  # charged + reserved + in doubt
    Column("created_at", UtcDateTime, nullable=False),
    Column("account", String),  # the account's id; null: not known yet
    Column("probe", String),  # token of the request that finds out a price; over once that has its answer
    Column("key_hash", String),  # salted hash of the key that was used last, which stands for the account until then
    # What the attempts add up to, kept by the transactions that change them: no one adds up a million rows to look.
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in SUMS),
    Column("archived_at", UtcDateTime),  # null: a command that names no batch means this one too
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision", Integer, primary_key=True),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("batch", String, nullable=False),
    Column("row_key", String, nullable=False),
    Column("token", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("video_id", String),
    Column("command", String),  # what one command decides is taken back together
    Column("before", Text),  # JSON: row and attempt as they were; null: the row did not take the decision up
    Column("undoes", Integer),  # the decision that this one takes back
)

accounts = Table(
    "accounts",
    metadata,
    Column("api", String, nullable=False),
    Column("key_hash", String, nullable=False),
    Column("account", String, nullable=False),
    Column("tier", String),
    Column("credits", BigInteger),  # the balance
    Column("seen_at", UtcDateTime, nullable=False),
    Column("period_end", UtcDateTime),  # when the subscription's period ends; null: there is none, or it is not said
    PrimaryKeyConstraint("api", "key_hash"),
)

prices = Table(
    "prices",
    metadata,
    Column("api", String, nullable=False),
    Column("account", String, nullable=False),  # its id, or the hash of the key while that is not known
    Column("model", String, nullable=False),  # as requests state them; `default` where they state none
    Column("resolution", String, nullable=False),
    Column("audio", Boolean, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("charged", Integer),  # what the last create charged
    Column("settled", Integer),  # what the last finished video cost
    Column("seen_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("api", "account", "model", "resolution", "audio", "seconds"),
)

schema_version = Table(
    "reelbatch_schema",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("identity", String),  # of this table, however its URL is spelt; salts the hashes of keys
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("verdict_id", Integer, primary_key=True),
    Column("batch", String, nullable=False),
    Column("row_key", String, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("verdict", String),  # null: none, there may be a note all the same
    Column("note", Text),
    Column("said_at", UtcDateTime, nullable=False),
    Column("said_by", String, nullable=False),
    Column("undoes", Integer, unique=True),  # the line that this one takes back
)
Index("verdicts_video", verdicts.c.batch, verdicts.c.row_key, verdicts.c.generation)
