"""The schema, the states and the moves say the same."""

import re

import pytest
from acting import begin, load, rows_of, set_row, states

from reelbatch.domain import HAS_ID, TRANSITIONS, RowState
from reelbatch.errors import LedgerError
from reelbatch.ledger import Ledger, transitions
from reelbatch.ledger.columns import RESULT_COLUMNS
from reelbatch.ledger.schema import generations, results
from reelbatch.ledger.transitions import Move

MOVES = {name: value for name, value in vars(transitions).items() if isinstance(value, Move)} | {
    f"SETTLED {state}": move for state, move in transitions.SETTLED.items()
}
EXPORTED = (
    "batch, row_key, row_number, image_path, prompt, model, resolution, end_seconds, audio, name, state, video_id, "
    "estimated_frame_cost, credits_estimated, credits_charged, credits_final, fps, width, height, error_code, "
    "error_message, attempts, token, run_id, submitted_at, settled_at, video_path, "
    "generation, verdict, verdict_note, reviewed_at"
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
    """What the domain allows can be done; a transition without a move would be a promise that nobody keeps."""
    done = {(source, move.target) for move in MOVES.values() for source in move.sources}
    allowed = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert allowed == done


def test_a_move_that_is_no_transition_can_not_be_defined() -> None:
    """Paid rows never become claimed, by mistake or otherwise."""
    with pytest.raises(ValueError, match="no row may move from complete to claimed"):
        Move(frozenset({RowState.COMPLETE}), RowState.CLAIMED)


def test_the_exported_columns_are_the_documented_ones() -> None:
    """Names and order of the results are a promise to whoever reads them."""
    assert ", ".join(RESULT_COLUMNS) == EXPORTED


def test_times_come_back_in_utc(ledger: Ledger) -> None:
    """A time is the same instant on the way out as on the way in, with its zone."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    intent = worker.send(worker.claim()[0])
    from_table = ledger.read(lambda connection: connection.execute(results.select()).mappings().one())
    assert from_table["submitted_at"].utcoffset().total_seconds() == 0
    assert from_table["submitted_at"] >= intent.at
