"""The columns of the table `generations`, each said once.

From this list come the table, the view `results`, the columns of an export with their types, what starts anew when
a row is sent again, what a migration adds, and the tables in docs/results-table.md. A new column comes at the end and
is null or has a default; VERSION rises by one with it.

It needs no SQLAlchemy, so that a quick look at a table does without.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from reelbatch.domain import REQUEST_FIELDS

VERSION = 7
"""Of the schema. A table of an older version is migrated, one of a newer version refused."""


class ColumnKind(Enum):
    """What a column holds; schema.py has its SQL type, export.py its Arrow type."""

    WORD = auto()  # a short text
    TEXT = auto()
    INTEGER = auto()
    LARGE_INTEGER = auto()  # of 64 bits
    FLOAT = auto()
    BOOLEAN = auto()
    TIME = auto()  # UTC


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of the results table.

    Attributes:
        doc: what it means, in Markdown, for docs/results-table.md.
        unit: of a number.
        default: of rows that do not state it, as SQL.
        exported: whether `export` and `reelbatch.results` give it.
        cleared: whether it starts anew when the row is sent again; the row's attempts keep ids and costs.
    """

    name: str
    kind: ColumnKind
    doc: str
    unit: str | None = None
    nullable: bool = True
    default: str | None = None
    exported: bool = True
    cleared: bool = False


@dataclass(frozen=True, slots=True)
class _Needed(ResultColumn):
    """What the work needs and no export gives."""

    exported: bool = False


_ERRORS = (
    "such as `http_422`, `not_connected`, `too_late` (not sent: ready for too long), `timeout`, `connection_lost`, "
    "`no_id`, `image_unseen`, `upload`, `other_video`, `in_doubt` (its worker died), `unreadable`, `deleted`, a "
    "[state that is not known](failures.md#videos), or the API's own for failed renders"
)
_HELD = (
    "JSON `[batch, row_key]`: the row is [held](manifest.md#paid-under-another-name), because that one has paid for "
    "the same request"
)
_VERDICT = (
    "`approved` or `rejected`: the last word of a [review](review.md) on this video; null: none. All of them are in "
    "the table `verdicts`"
)
_CHECK = (
    "what a [look at the downloaded file](failures.md#videos) has found: `ok`, `black`, `frozen` or `unreadable`; "
    "null: not looked at, or not to the end"
)
COLUMNS = (
    ResultColumn("batch", ColumnKind.WORD, "the name under which rows are generated once", nullable=False),
    ResultColumn("row_key", ColumnKind.WORD, "the row's key in the manifest, else its fingerprint", nullable=False),
    ResultColumn(
        "row_number",
        ColumnKind.INTEGER,
        "1 for the first line of data; with [variants](manifest.md#variants), rows are numbered through",
        nullable=False,
    ),
    ResultColumn("image_path", ColumnKind.TEXT, "as in the manifest", nullable=False),
    ResultColumn("prompt", ColumnKind.TEXT, "as sent"),
    ResultColumn("model", ColumnKind.WORD, "as sent; null: the API's default"),
    ResultColumn("resolution", ColumnKind.WORD, "as in the manifest; null: the API's default"),
    ResultColumn("end_seconds", ColumnKind.FLOAT, "length asked for", unit="seconds"),
    ResultColumn("audio", ColumnKind.BOOLEAN, "null: not stated"),
    ResultColumn("name", ColumnKind.TEXT, "as in the manifest, without the token"),
    ResultColumn("state", ColumnKind.WORD, "see below", nullable=False),
    ResultColumn("video_id", ColumnKind.WORD, "the API's id", cleared=True),
    ResultColumn(
        "estimated_frame_cost",
        ColumnKind.INTEGER,
        "from create's answer; the API has deprecated it, so it may be null",
        unit="credits",
        cleared=True,
    ),
    ResultColumn(
        "credits_estimated", ColumnKind.INTEGER, "ours, by the table of models; null: rate unknown", unit="credits"
    ),
    ResultColumn("credits_charged", ColumnKind.INTEGER, "create's answer", unit="credits", cleared=True),
    ResultColumn(
        "credits_final", ColumnKind.INTEGER, "settled figure; null until then", unit="credits", cleared=True
    ),
    ResultColumn("fps", ColumnKind.FLOAT, "of the finished video", unit="1/s", cleared=True),
    ResultColumn("width", ColumnKind.INTEGER, "of the finished video", unit="pixels", cleared=True),
    ResultColumn("height", ColumnKind.INTEGER, "of the finished video", unit="pixels", cleared=True),
    ResultColumn("error_code", ColumnKind.WORD, _ERRORS, cleared=True),
    ResultColumn("error_message", ColumnKind.TEXT, "in words", cleared=True),
    ResultColumn(
        "attempts", ColumnKind.INTEGER, "requests made for this row, over all runs", nullable=False, default="0"
    ),
    ResultColumn("token", ColumnKind.WORD, "of the last attempt: `rb_` and 20 hexadecimal digits", cleared=True),
    ResultColumn("run_id", ColumnKind.WORD, "the run that last had the row", cleared=True),
    ResultColumn("submitted_at", ColumnKind.TIME, "when create's answer was recorded", cleared=True),
    ResultColumn("settled_at", ColumnKind.TIME, "when the final state was seen", cleared=True),
    ResultColumn(
        "video_path",
        ColumnKind.TEXT,
        "where the video was downloaded to; a [generation](failures.md#videos) has a file of its own",
        cleared=True,
    ),
    ResultColumn(
        "generation",
        ColumnKind.INTEGER,
        "which of the row's videos this is; 1: the first, 2: made anew once",
        nullable=False,
        default="1",
    ),
    ResultColumn("verdict", ColumnKind.WORD, _VERDICT),
    ResultColumn("verdict_note", ColumnKind.TEXT, "what the reviewer wrote about the video"),
    ResultColumn("reviewed_at", ColumnKind.TIME, "when the verdict or the note was given"),
    ResultColumn("video_bytes", ColumnKind.LARGE_INTEGER, "of the downloaded file", unit="bytes", cleared=True),
    ResultColumn("video_seconds", ColumnKind.FLOAT, "length of the downloaded file", unit="seconds", cleared=True),
    ResultColumn("video_frames", ColumnKind.INTEGER, "frames of the downloaded file", cleared=True),
    ResultColumn("video_check", ColumnKind.WORD, _CHECK, cleared=True),
    ResultColumn("end_image_path", ColumnKind.TEXT, "as in the manifest"),
    ResultColumn("request_width", ColumnKind.INTEGER, "the manifest's `width`", unit="pixels"),
    ResultColumn("request_height", ColumnKind.INTEGER, "the manifest's `height`", unit="pixels"),
    _Needed("fingerprint", ColumnKind.WORD, "hash of the request as the manifest states it", nullable=False),
    _Needed("in_manifest", ColumnKind.BOOLEAN, "in the manifest as last read", nullable=False),
    _Needed(
        "rerun_wanted",
        ColumnKind.BOOLEAN,
        "a rerun asked for the row and has not sent it",
        nullable=False,
        default="false",
    ),
    _Needed("due_at", ColumnKind.TIME, "when settle looks at it next", cleared=True),
    _Needed(
        "order_id",
        ColumnKind.INTEGER,
        "of the order that this generation is part of; null: none, plain `generate` sends it",
    ),
    _Needed("image_base", ColumnKind.TEXT, "where the row's relative image paths start"),
    _Needed("image_stat", ColumnKind.TEXT, "size and time of change of its local images, as last seen"),
    _Needed("image_bytes", ColumnKind.LARGE_INTEGER, "the size of its local images", unit="bytes"),
    _Needed("image_sha256", ColumnKind.TEXT, "of the images' bytes, as sent", cleared=True),
    _Needed(
        "request_sha256",
        ColumnKind.WORD,
        "of the request as sent, whatever its name and its paths; set by the intent",
        cleared=True,
    ),
    _Needed("paid_as", ColumnKind.TEXT, _HELD, cleared=True),
    _Needed(
        "waited_until",
        ColumnKind.TIME,
        "until when a row of which the API says nothing that is known is waited for, and holds a render window",
        cleared=True,
    ),
)

EXPORTED = tuple(column for column in COLUMNS if column.exported)
RESULT_COLUMNS = tuple(column.name for column in EXPORTED)
"""The names of the columns that are exported, in their order."""
REQUEST_COLUMNS = tuple(field.column for field in REQUEST_FIELDS)
"""What a row asks for, in the order of `Request`."""
CLEARED = tuple(column.name for column in COLUMNS if column.cleared)
"""What is known of a row's video, or of why there is none, and starts anew when the row is sent again."""
