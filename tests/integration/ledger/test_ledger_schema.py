"""The schema, the states and the moves say the same."""

import re

import pytest
from acting import begin, committed, load, rows_of, set_row, states
from sqlalchemy import Connection, select, update

from reelbatch.domain import HAS_ID, TRANSITIONS, RowState
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, transitions
from reelbatch.ledger.columns import RESULT_COLUMNS
from reelbatch.ledger.schema import VIEW, generations, results, schema_version
from reelbatch.ledger.transitions import Move

MOVES = {name: value for name, value in vars(transitions).items() if isinstance(value, Move)} | {
    f"SETTLED {state}": move for state, move in transitions.SETTLED.items()
}
EXPORTED = (
    "batch, row_key, row_number, image_path, prompt, model, resolution, end_seconds, audio, name, state, video_id, "
    "estimated_frame_cost, credits_estimated, credits_charged, credits_final, fps, width, height, error_code, "
    "error_message, attempts, token, run_id, submitted_at, settled_at, video_path, "
    "generation, verdict, verdict_note, reviewed_at, video_bytes, video_seconds, video_frames, video_check, "
    "end_image_path, request_width, request_height"
)


@pytest.mark.parametrize("state", RowState)
def test_the_table_takes_every_state(ledger: Ledger, state: RowState) -> None:
    """Whatever state a row may be in can be written down."""
    load(ledger, rows_of("a"))
    set_row(ledger, "a", state=state, video_id="vid-1")
    assert states(ledger) == {"a": state}


@pytest.mark.parametrize("state", ["", "done", "Pending", "pending "])
def test_the_table_takes_no_other_state(ledger: Ledger, state: str) -> None:
    """A state that the code does not know can't be written by any program."""
    load(ledger, rows_of("a"))
    with pytest.raises(LedgerError):
        set_row(ledger, "a", state=state)


def test_the_check_lists_the_states_and_nothing_else() -> None:
    """The CHECK in the database is the enum, word for word."""
    check = next(constraint for constraint in generations.constraints if constraint.name == "state_is_known")
    assert set(re.findall(r"'(\w+)'", str(check.sqltext))) == {state.value for state in RowState}


@pytest.mark.parametrize("state", sorted(HAS_ID - {RowState.ERROR, RowState.CANCELED}))
def test_a_video_has_an_id(ledger: Ledger, state: RowState) -> None:
    """No row counts as submitted without the id that was paid for."""
    load(ledger, rows_of("a"))
    with pytest.raises(LedgerError):
        set_row(ledger, "a", state=state, video_id=None)


@pytest.mark.parametrize("name", MOVES)
def test_every_move_is_a_transition(name: str) -> None:
    """No UPDATE of the table makes a move that the domain does not allow."""
    move = MOVES[name]
    assert move.sources
    assert all(move.target in TRANSITIONS[source] for source in move.sources)


def test_every_transition_has_its_move() -> None:
    """What the domain allows can be done; a transition without a move would be a promise that no one keeps."""
    done = {(source, move.target) for move in MOVES.values() for source in move.sources}
    allowed = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert allowed == done


def test_a_move_that_is_no_transition_can_not_be_defined() -> None:
    """Paid rows never become claimed, by mistake or otherwise."""
    with pytest.raises(ValueError, match="no row may move from complete to claimed"):
        Move(frozenset({RowState.COMPLETE}), RowState.CLAIMED)


def test_the_exported_columns_are_the_documented_ones() -> None:
    """Names and order of the results are a promise to the one who reads them."""
    assert ", ".join(RESULT_COLUMNS) == EXPORTED


def test_a_table_of_version_4_is_read_on_by_its_new_names(ledger_url: str) -> None:
    """On SQLite and on Postgres: which rows the manifest has, and what they cost at worst, are as they were."""
    with Ledger(ledger_url) as ledger:
        load(ledger, rows_of("a", "b"))
        worker = begin(ledger)
        worker.send(worker.claim(1)[0])
        set_row(ledger, "b", in_manifest=False)
        cost = committed(ledger)
        ledger.change(_as_version_4)
    with Ledger(ledger_url) as ledger:
        assert (committed(ledger), cost > 0) == (cost, True)
        query = select(results.c.row_key, generations.c.in_manifest).join_from(
            results, generations, results.c.row_key == generations.c.row_key
        )
        assert dict(ledger.read(lambda connection: connection.execute(query).all())) == {"a": True, "b": False}
        assert begin(ledger, "run-2").claim() == []  # one was sent, and the manifest has the other no more


def _as_version_4(connection: Connection) -> None:
    connection.exec_driver_sql("DROP VIEW results")
    connection.exec_driver_sql("ALTER TABLE batches RENAME COLUMN worst_case TO committed")
    connection.exec_driver_sql("ALTER TABLE generations RENAME COLUMN in_manifest TO listed")
    connection.exec_driver_sql(VIEW.replace("in_manifest", "listed"))
    connection.execute(update(schema_version).values(version=4))


def test_times_come_back_in_utc(ledger: Ledger) -> None:
    """A time is the same instant on the way out as on the way in, with its zone."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.send(worker.claim()[0])
    from_table = ledger.read(lambda connection: connection.execute(results.select()).mappings().one())
    assert from_table["submitted_at"].utcoffset().total_seconds() == 0
    assert from_table["submitted_at"] >= intent.at
