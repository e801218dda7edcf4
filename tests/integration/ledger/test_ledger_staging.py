"""A manifest meets the results table: DESIGN's table, as it is counted beforehand and as it is done."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from acting import SPRING, answer, begin, entries, entry, every_line, keys, lines, load, row, rows_of, set_row, states

from reelbatch.domain import FAILED, HELD, Batch, Row, RowState
from reelbatch.ledger import Comparison, Ledger, attempts, merge, orders, queries
from reelbatch.ledger.selection import Action, Regenerate, SendOptions
from reelbatch.ledger.staging import Duplicate

HAS_VIDEO = frozenset({RowState.QUEUED, RowState.RENDERING, RowState.COMPLETE})


class Case(NamedTuple):
    """A row that the table already has, and what the manifest says now."""

    state: RowState
    changed: bool
    valid: bool

    @property
    def key(self) -> str:
        """The row's, and its model's, so that counts by model are counts by case."""
        return f"{self.state}-{'changed' if self.changed else 'same'}-{'valid' if self.valid else 'invalid'}"

    @property
    def number(self) -> int:
        """Of its line."""
        return CASES.index(self) + 1

    def before(self) -> Row:
        """As the table has it."""
        return row(self.key, self.number, model=self.key)

    def now(self) -> Row:
        """As the manifest has it."""
        prompt = "Fast zoom" if self.changed else "Slow pan"
        return row(self.key, self.number, prompt, model=self.key, problem=None if self.valid else "image is missing")


CASES = [Case(*values) for values in product(RowState, (False, True), (False, True))]


def by_design(case: Case, regenerate: Regenerate) -> Action:
    """The table of DESIGN, "What generate does with a row that the table already has"."""
    send = Action.SEND if case.valid else Action.INVALID
    if case.state in {RowState.PENDING, RowState.INVALID}:
        return send
    if case.state in HELD:
        return Action.AT_WORK
    if case.state is RowState.IN_DOUBT:
        return Action.IN_DOUBT
    if case.state in FAILED:
        return send if case.changed else Action.FAILED
    wanted = regenerate is Regenerate.ALL or (regenerate is Regenerate.CHANGED and case.changed)
    if wanted and case.valid:
        return Action.SEND if case.state is RowState.COMPLETE else Action.LATER
    return Action.CHANGED if case.changed else Action.SKIP


def prepare_cases(ledger: Ledger) -> None:
    """Every case as it was before the manifest is read again."""
    load(ledger, [case.before() for case in CASES])
    for case in CASES:
        paid: dict[str, Any] = {"video_id": "vid-1", "credits_charged": 40, "token": "rb_1", "run_id": "run-0"}
        told = {"error_message": "was refused"} if case.state in FAILED else {}
        set_row(ledger, case.key, state=case.state, **(paid if case.state in HAS_VIDEO | FAILED else {}), **told)


@pytest.fixture
def small_spans(monkeypatch: pytest.MonkeyPatch) -> int:
    """Manifests are merged a few rows at a time."""
    monkeypatch.setattr(merge, "MERGE_ROWS", 3)
    return 3


@pytest.mark.parametrize("regenerate", Regenerate)
def test_what_is_counted_is_what_design_says(ledger: Ledger, regenerate: Regenerate) -> None:
    """Before anything is spent, every row is counted under the action that DESIGN's table names."""
    prepare_cases(ledger)
    with ledger.staged([[case.now() for case in CASES]], None, SendOptions(regenerate=regenerate)) as manifest:
        counts = manifest.compare(SPRING).counts
    assert {count.model: count.action for count in counts} == {
        case.key: by_design(case, regenerate) for case in CASES
    }
    assert all(count.rows == 1 and count.credits_estimated == 48 for count in counts)


@pytest.mark.parametrize("regenerate", Regenerate)
def test_what_is_done_is_what_was_counted(ledger: Ledger, small_spans: int, regenerate: Regenerate) -> None:
    """Rows to send are pending with the new request, invalid ones are marked; every other row stays as it was."""
    prepare_cases(ledger)
    before = entries(ledger)
    load(ledger, [case.now() for case in CASES], regenerate)
    after = entries(ledger)
    for case in CASES:
        action, now = by_design(case, regenerate), after[case.key]
        if action is Action.LATER or (action is Action.SEND and case.state is RowState.COMPLETE):
            first, further = lines(ledger, case.key)
            assert first == before[case.key], case  # what is paid for stays, and is what is shown
            assert now == first, case
            assert (further["state"], further["generation"], further["video_id"]) == ("pending", 2, None), case
            assert further["fingerprint"] == case.now().fingerprint, case
        elif action in {Action.SEND, Action.INVALID}:
            assert now["state"] == ("pending" if action is Action.SEND else "invalid"), case
            assert now["fingerprint"] == case.now().fingerprint, case
            assert (now["video_id"], now["credits_charged"], now["token"]) == (None, None, None), case
            assert now["error_message"] == case.now().problem, case
        else:
            # Should its worker die, no one sends what the manifest no longer says.
            overtaken = action is Action.AT_WORK and case.changed
            assert now == {**before[case.key], "in_manifest": not overtaken}, case


@pytest.mark.parametrize("regenerate", Regenerate)
def test_only_rows_counted_as_sent_are_handed_out(ledger: Ledger, regenerate: Regenerate) -> None:
    """No credit goes to a row that was not announced, and none that was announced is forgotten."""
    prepare_cases(ledger)
    load(ledger, [case.now() for case in CASES], regenerate)
    announced = [case.key for case in CASES if by_design(case, regenerate) is Action.SEND]
    order = ledger.read(lambda connection: orders.open_order(connection, SPRING))
    plain = [case.key for case in CASES if case.key in announced and case.state is not RowState.COMPLETE]
    assert keys(begin(ledger, "plain").claim()) == plain
    ordered = begin(ledger, "ordered", order=None if order is None else order.order_id).claim()
    assert sorted(plain + keys(ordered)) == sorted(announced)


def test_rows_that_are_gone_are_left_alone(ledger: Ledger) -> None:
    """A row that the manifest no longer has keeps its state, is reported as gone and is never sent."""
    prepare_cases(ledger)
    before = entries(ledger)
    load(ledger, [row("new", 1)])
    after = entries(ledger)
    assert {key: found | {"in_manifest": True} for key, found in after.items() if key != "new"} == before
    assert not any(found["in_manifest"] for key, found in after.items() if key != "new")
    with ledger.staged([[row("new", 1)]]) as manifest:
        assert manifest.compare(SPRING).gone == len(CASES)
    assert keys(begin(ledger).claim()) == ["new"]


def test_rows_that_come_back_are_listed_again(ledger: Ledger) -> None:
    """A row that returns to the manifest unchanged is sent if it never was, and only then."""
    load(ledger, rows_of("a", "b"))
    set_row(ledger, "b", state="complete", video_id="vid-b")
    load(ledger, rows_of("c"))
    load(ledger, rows_of("c", "a", "b"))
    assert keys(begin(ledger).claim()) == ["c", "a"]


def test_loading_twice_changes_nothing(ledger: Ledger, small_spans: int) -> None:
    """The same manifest again leaves every row as it was, whatever its state."""
    prepare_cases(ledger)
    manifest = [case.now() for case in CASES]
    load(ledger, manifest)
    once = entries(ledger)
    load(ledger, manifest)
    assert entries(ledger) == once


def test_rows_given_back_may_be_sent_by_the_next_run_after_loading_again(ledger: Ledger) -> None:
    """A pending row with an earlier run's error is announced, and sent, by the same command again."""
    load(ledger, rows_of("a"))
    first = begin(ledger, "run-1")
    first.release(first.claim()[0], code="upload", message="no such host")
    counts = load(ledger, rows_of("a")).counts
    assert [count.action for count in counts] == [Action.SEND]
    assert keys(begin(ledger, "run-2").claim()) == ["a"]


def test_row_numbers_follow_the_manifest(ledger: Ledger, small_spans: int) -> None:
    """Rows that moved within the file are reported under their new line, paid or not."""
    names = [f"key-{number}" for number in range(1, 11)]
    load(ledger, rows_of(*names))
    set_row(ledger, "key-4", state="queued", video_id="vid-4")
    load(ledger, rows_of(*reversed(names)))
    assert {key: found["row_number"] for key, found in entries(ledger).items()} == {
        name: number for number, name in enumerate(reversed(names), start=1)
    }
    assert entry(ledger, "key-4")["video_id"] == "vid-4"


def test_duplicates_are_named_with_all_their_rows(ledger: Ledger) -> None:
    """A key that stands in several rows is reported with each of them, in the manifest's order."""
    manifest = [row(key, number) for number, key in enumerate(["b", "a", "b", "c", "a", "b"], start=1)]
    with ledger.staged([manifest[:2], manifest[2:]]) as staged:
        found = staged.compare(SPRING)
    assert (found.duplicate_keys, found.duplicates) == (2, [Duplicate("b", (1, 3, 6)), Duplicate("a", (2, 5))])


def test_same_requests_under_different_keys_are_noticed(ledger: Ledger) -> None:
    """Rows that ask for the same video twice are paired for a warning; invalid rows cost nothing and are not."""
    one, other = row("a", 1), row("b", 2)._replace(request=row("a", 1).request, fingerprint=row("a", 1).fingerprint)
    broken = row("c", 3)._replace(fingerprint=one.fingerprint, problem="no image")
    with ledger.staged([[one, other, broken]]) as staged:
        assert staged.compare(SPRING).same_requests == [(1, 2, 2)]


def test_equal_requests_are_counted_beyond_those_that_are_listed(ledger: Ledger) -> None:
    """Of three that ask for the same each is counted, and requests for which the list has no room are too."""
    twins = [row(f"a{number}", number)._replace(fingerprint=f"f{number // 3}") for number in range(3600)]
    with ledger.staged([twins]) as staged:
        found = staged.compare(SPRING)
    assert (found.same_request_count, len(found.same_requests)) == (1200, 1000)
    assert found.same_requests[1] == (3, 5, 3)


def test_every_row_is_merged_over_many_spans(ledger: Ledger, small_spans: int) -> None:
    """A manifest larger than one transaction arrives whole, whatever the size of the last part."""
    for rows in (small_spans, small_spans + 1, 10 * small_spans - 1):
        load(ledger, rows_of(*(f"key-{number}" for number in range(rows))))
        assert ledger.read(lambda connection: queries.counts(connection, SPRING))[RowState.PENDING] == rows


def test_an_empty_manifest_unlists_everything(ledger: Ledger) -> None:
    """A manifest without rows sends nothing and drops nothing."""
    load(ledger, rows_of("a"))
    load(ledger, [])
    assert states(ledger) == {"a": "pending"}
    assert begin(ledger).claim() == []


def test_batches_do_not_touch_each_other(ledger: Ledger) -> None:
    """The same keys in two batches are different rows."""
    autumn = Batch("autumn")
    load(ledger, rows_of("a", "b"))
    load(ledger, rows_of("a"), batch=autumn)
    assert [found["in_manifest"] for found in entries(ledger).values()] == [True, True]
    assert keys(begin(ledger, batch=autumn).claim()) == ["a"]
    assert set(states(ledger).values()) == {RowState.PENDING}


def test_a_row_claimed_after_the_comparison_is_not_replaced(ledger: Ledger) -> None:
    """A worker that takes a row between comparison and merge keeps it, with the request that it was handed."""
    load(ledger, rows_of("a"))
    worker = begin(ledger)
    with ledger.staged([rows_of("a", prompt="Fast zoom")]) as manifest:
        assert manifest.compare(SPRING).counts[0].action is Action.SEND
        taken = worker.claim()[0]
        manifest.merge(SPRING)
    assert entry(ledger, "a")["state"] == "claimed"
    assert entry(ledger, "a")["prompt"] == taken.request.prompt == "Slow pan"
    intent = worker.intend(taken)
    ledger.change(lambda connection: attempts.record_answers(connection, [answer(intent)]))
    assert load(ledger, rows_of("a", prompt="Fast zoom")).counts[0].action is Action.CHANGED


def test_requests_survive_the_way_through_the_table(ledger: Ledger) -> None:
    """What the manifest stated is what is sent: numbers, truth values, umlauts and empty fields alike."""
    request = row("a", 1).request._replace(audio=False, end_seconds=0.1, prompt="Zoom ä 🎬\n'", width=512, name="")
    stated = row("a", 1)._replace(request=request, fingerprint=request.fingerprint())
    load(ledger, [stated, row("b", 2, credits_estimated=None)])
    first, second = begin(ledger).claim()
    assert first.request == request
    assert first.request.fingerprint() == stated.fingerprint
    assert second.credits_estimated is None


def test_what_all_rows_have_in_common_is_in_each_of_them(ledger: Ledger) -> None:
    """It is handed over once for some hundred rows, and what only some of them have is not."""
    manifest = [row(f"key-{number}", number, model=None if number == 2 else "m") for number in range(1, 702)]
    load(ledger, manifest)
    found = entries(ledger)
    assert {found[line.row_key]["prompt"] for line in manifest} == {"Slow pan"}
    assert [line.row_number for line in manifest if found[line.row_key]["model"] is None] == [2]
    assert len(found) == len(manifest)


def test_a_staged_manifest_leaves_no_trace(ledger: Ledger) -> None:
    """After a failure inside, the same connection can stage the next manifest."""
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            merge_and_fail(ledger)
    assert states(ledger) == {"a": "pending"}
    with pytest.raises(ZeroDivisionError), ledger.staged(breaking_off(rows_of("b"))):
        pass
    load(ledger, rows_of("a", "c"))
    assert keys(begin(ledger).claim()) == ["a", "c"]


def breaking_off(rows: list[Row]) -> Iterator[list[Row]]:
    """A manifest that can't be read to its end."""
    yield rows
    raise ZeroDivisionError


def merge_and_fail(ledger: Ledger) -> None:
    """A merge, and then something else that goes wrong."""
    with ledger.staged([rows_of("a")]) as manifest:
        manifest.merge(SPRING)
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("before", "prompt", "after"),
    [
        ("pending", "Slow pan", "pending"),  # another machine has seen its image
        ("pending", "Another", "invalid"),  # what it asks for now was never seen by anyone
        ("invalid", "Slow pan", "invalid"),
        ("rejected", "Another", "invalid"),
    ],
)
def test_an_image_that_only_another_machine_sees(ledger: Ledger, before: str, prompt: str, after: str) -> None:
    """A machine that can't see a row's image does not take the row from those that can."""
    load(ledger, rows_of("a"))
    set_row(ledger, "a", state=before)
    load(ledger, [row("a", 1, prompt, problem="no such file")._replace(unseen=True)])
    assert states(ledger) == {"a": after}


def test_what_is_made_again_waits_for_a_machine_that_sees_its_image(ledger: Ledger) -> None:
    """A line of an order too: what it asks for was seen by the machine that placed the order."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    for taken in worker.claim():
        worker.send(taken)
    set_row(ledger, "a", state="complete")
    set_row(ledger, "b", state="complete")
    load(ledger, rows_of("a", "b"), Regenerate.ALL)
    blind = [each._replace(problem="no such file", unseen=True) for each in (row("a", 1), row("b", 2, "Another"))]
    for regenerate in (Regenerate.ALL, Regenerate.NONE):
        load(ledger, blind, regenerate)
        assert {key: line["state"] for (key, number), line in every_line(ledger).items() if number == 2} == {
            "a": "pending",
            "b": "invalid",  # what it asks for now was never seen by anyone
        }


def test_an_image_that_is_no_image_is_invalid_everywhere(ledger: Ledger) -> None:
    """What a machine has seen for itself counts."""
    load(ledger, rows_of("a"))
    load(ledger, rows_of("a", problem="not an image"))
    assert states(ledger) == {"a": "invalid"}


def counted(ledger: Ledger, manifest: list[Row], regenerate: Regenerate = Regenerate.NONE) -> Comparison:
    """What comes out, whether rows that are unchanged are staged or not."""
    options = SendOptions(regenerate=regenerate)
    with ledger.staged([manifest[:3], manifest[3:]], None, options) as staged:
        whole = staged.compare(SPRING)
    with ledger.staged([manifest[:3], manifest[3:]], SPRING, options) as staged:
        assert staged.compare(SPRING) == whole
    return whole


@pytest.mark.parametrize("regenerate", [Regenerate.NONE, Regenerate.CHANGED])
def test_rows_that_are_passed_over_are_counted_all_the_same(ledger: Ledger, regenerate: Regenerate) -> None:
    """Rows that the table has unchanged need not be staged for the counts to be DESIGN's, whatever their state."""
    prepare_cases(ledger)
    counts = counted(ledger, [case.now() for case in CASES], regenerate).counts
    assert {count.model: count.action for count in counts} == {
        case.key: by_design(case, regenerate) for case in CASES
    }


def test_rows_in_several_states_are_counted_each_under_its_own(ledger: Ledger) -> None:
    """The table gives them state by state, and the manifest by number."""
    manifest = [row(name, number, model=name) for number, name in enumerate(["waiting", "failed", "made"], start=1)]
    load(ledger, manifest)
    set_row(ledger, "failed", state="error", video_id="vid-2", error_message="was refused")
    set_row(ledger, "made", state="complete", video_id="vid-3")
    assert {count.model: count.action for count in counted(ledger, manifest).counts} == {
        "waiting": Action.SEND,
        "failed": Action.FAILED,
        "made": Action.SKIP,
    }


@pytest.mark.parametrize("key", ["plain", "sep\x1farated", "sep\x1f\x1f"])
def test_nothing_is_passed_over_that_differs(ledger: Ledger, key: str) -> None:
    """Order, credits, keys with odd characters, rows that left or came: counted as if everything were staged."""
    before = [row(name, number) for number, name in enumerate(["a", key, "b", "c", "d", "e"], start=1)]
    load(ledger, before)
    assert counted(ledger, before).gone == 0
    assert counted(ledger, before[:4]).gone == 2
    moved = [found._replace(row_number=number) for number, found in enumerate(reversed(before), start=1)]
    assert [count.rows for count in counted(ledger, moved).counts] == [6]
    dearer = [found._replace(credits_estimated=None) for found in before[:2]] + before[2:]
    assert [(count.rows, count.unknown) for count in counted(ledger, dearer).counts] == [(6, 2)]
    load(ledger, dearer)
    assert entry(ledger, "a")["credits_estimated"] is None
    assert counted(ledger, [*before, row("a", 7)]).duplicates == [Duplicate("a", (1, 7))]
    twin = row("twin", 7)._replace(request=before[0].request, fingerprint=before[0].fingerprint)
    assert counted(ledger, [*before, twin]).same_requests == [(1, 7, 2)]


def test_rows_that_share_a_number_are_told_apart(ledger: Ledger) -> None:
    """After a load that was cut short two rows can stand under one number; the one that is gone is not sent."""
    load(ledger, rows_of("a", "b", "gone"))
    set_row(ledger, "gone", row_number=2, error_message="given back")
    manifest = rows_of("a", "b")
    assert counted(ledger, manifest).gone == 1
    load(ledger, manifest)
    assert keys(begin(ledger).claim()) == ["a", "b"]
