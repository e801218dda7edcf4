"""The same request under another name: a renamed file, a key that Excel rewrote, another batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from acting import HERE, SPRING, begin, entry, keys, lines, load, row, rows_of, set_row, states, tell

from reelbatch.domain import Batch, Row, RowState
from reelbatch.errors import ManifestError
from reelbatch.ledger import Ledger, Origin, queries
from reelbatch.ledger.accounts import Payer
from reelbatch.ledger.admission import Admission
from reelbatch.ledger.attempts import Ending
from reelbatch.ledger.paid_requests import PAID
from reelbatch.ledger.selection import Action, Regenerate, RepeatPolicy

AUTUMN = Batch("autumn")
SEND, SKIP = RepeatPolicy.SEND, RepeatPolicy.SKIP


def named(key: str, like: str, number: int = 1, **stated: str) -> Row:
    """A row that asks for the same as the row `like`, under another key."""
    same = row(like, number, **stated)
    return same._replace(row_key=key)


HELD_BY = (
    'its request is paid for as row {} of batch "spring"; `--repeats send` (setting `repeats`) sends it all the same'
)


def pay(ledger: Ledger, *wanted: str, batch: Batch = SPRING) -> None:
    """These rows get their ids."""
    worker = begin(ledger, f"pays-{batch}", batch=batch)
    for taken in worker.claim():
        if taken.row_key in wanted:
            worker.send(taken)
        else:
            worker.release(taken)


def counts(ledger: Ledger, *rows: Row, **options: object) -> dict[Action, int]:
    """What the manifest would come to."""
    return {count.action: count.rows for count in load(ledger, list(rows), **options).counts}  # type: ignore[arg-type]  # load's own


def test_a_key_that_was_rewritten_is_held(ledger: Ledger) -> None:
    """Excel's 7 for 007: named with both keys, and not sent."""
    load(ledger, rows_of("007"))
    pay(ledger, "007")
    found = load(ledger, [named("7", "007")])
    assert [(held.row_key, held.paid.batch, held.paid.row_key) for held in found.held] == [("7", SPRING, "007")]
    assert begin(ledger, "night-2").claim() == []
    assert (entry(ledger, "7")["state"], entry(ledger, "7")["error_code"]) == ("pending", "held")
    assert entry(ledger, "7")["error_message"] == HELD_BY.format("007")
    assert ledger.read(lambda connection: queries.held(connection, SPRING, 10))[0] == 1


def test_a_manifest_that_is_read_in_part_pays_for_nothing_twice(ledger: Ledger) -> None:
    """Its process dies after the first rows, or is still at work: no worker finds a row under both of its keys."""
    load(ledger, rows_of("a", "b"))
    worker = begin(ledger)
    (taken,) = worker.claim(1)
    begun: list[int] = []

    def die_after_the_first_rows(_: object) -> None:
        begun.append(len(begun))
        if len(begun) > 1:
            raise ManifestError

    with ledger.staged([[named("a2", "a"), named("b2", "b", 2)]], SPRING, origin=HERE) as manifest:
        manifest.compare(SPRING)
        with pytest.raises(ManifestError):
            manifest.merge(SPRING, check=die_after_the_first_rows)
    told = {each.row_key: worker.admit(worker.intent(each)) for each in (taken, *worker.claim())}
    assert told == {"a": Admission.ADMITTED, "a2": Admission.HELD, "b2": Admission.ADMITTED}


def test_another_batch_of_the_same_account_has_paid(ledger: Ledger) -> None:
    """A shop's export under its dated name."""
    load(ledger, rows_of("a", "b"))
    pay(ledger, "a")
    assert counts(ledger, *rows_of("a", "b"), batch=AUTUMN) == {Action.HELD: 1, Action.SEND: 1}
    assert keys(begin(ledger, batch=AUTUMN).claim()) == ["b"]


def test_what_held_rows_would_cost_is_not_counted(ledger: Ledger) -> None:
    """Rows of unknown rate that are held since the first reading: what was charged before is for the others."""
    unrated = [row(key, number, credits_estimated=None) for number, key in enumerate("ab", start=1)]
    load(ledger, unrated)
    load(ledger, unrated[:1], batch=AUTUMN)
    pays = begin(ledger, "pays", batch=AUTUMN)
    pays.send(pays.claim()[0], credits_charged=48)
    found = load(ledger, unrated)
    assert [held.row_key for held in found.held] == ["a"]
    assert found.observed == (1, 48, ("ltx-2.3",))


def test_rows_of_one_manifest_never_hold_each_other(ledger: Ledger) -> None:
    """Three sizes share photo and title, also when a kill came between them."""
    sizes = [row("s", 1), named("m", "s", 2), named("l", "s", 3)]
    load(ledger, sizes)
    pay(ledger, "s")
    assert counts(ledger, *sizes) == {Action.SKIP: 1, Action.SEND: 2}
    worker = begin(ledger, "goes-on")
    for taken in worker.claim():
        worker.send(taken)
    assert set(states(ledger).values()) == {RowState.QUEUED}


@pytest.mark.parametrize("state", RowState)
def test_only_what_may_be_paid_for_holds(ledger: Ledger, state: RowState) -> None:
    """A row that failed, or was never sent, has paid for nothing."""
    load(ledger, rows_of("a"))
    pay(ledger, "a")
    set_row(ledger, "a", state=state)
    held = state in PAID
    assert counts(ledger, named("b", "a")) == {Action.HELD if held else Action.SEND: 1}


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({"name": "another name", "width": 5, "height": 6}, True),
        ({"prompt": "Fast zoom"}, False),
        ({"model": "wan-2.2"}, False),
        ({"resolution": "1080p"}, False),
        ({"end_seconds": 3.0}, False),
        ({"audio": True}, False),
        ({"audio": False}, True),
        ({"end_image_path": "end.png"}, False),
        ({"image_path": "other.png"}, False),
    ],
    ids=str,
)
def test_what_makes_two_requests_the_same(ledger: Ledger, change: dict[str, object], held: bool) -> None:
    """Not their names, nor what the API ignores."""
    load(ledger, rows_of("a"))
    pay(ledger, "a")
    request = row("a", 1).request._replace(**change)
    other = row("b", 1)._replace(request=request, fingerprint=request.fingerprint())
    assert counts(ledger, other) == {Action.HELD if held else Action.SEND: 1}


@pytest.mark.parametrize(
    "first", [{"model": "default", "audio": False}, {"model": None, "audio": False}, {}], ids=str
)
def test_what_the_api_takes_anyway_may_be_stated_or_not(ledger: Ledger, first: dict[str, object]) -> None:
    """A file that spells out `model: default` and `audio: false` asks for what one without these columns asks for."""
    paid = row("a", 1).request._replace(**{"model": None, **first})
    load(ledger, [row("a", 1)._replace(request=paid, fingerprint=paid.fingerprint())])
    pay(ledger, "a")
    for audio, held in ((None, 1), (False, 1), (True, 0)):
        for model in (None, "default"):
            request = paid._replace(model=model, audio=audio)
            other = row("b", 1)._replace(request=request, fingerprint=request.fingerprint())
            assert counts(ledger, other) == {Action.HELD if held else Action.SEND: 1}


def test_images_are_told_apart_by_their_bytes(ledger: Ledger) -> None:
    """However their paths are spelt; another picture under the same name is another request."""
    bytes_of = {"a.png": "11", "./img/a.png": "11", "b.png": "22"}
    load(ledger, [row("a", 1)._replace(image_bytes=2)], origin=HERE)
    worker = begin(ledger)
    taken = worker.claim()[0]
    asked = worker.intent(taken).asked._replace(request_sha256=taken.request.content_sha256(["11"]), image_bytes=2)
    assert worker.admit(replace(worker.intent(taken), asked=asked)) is Admission.ADMITTED
    origin = Origin(mark=bytes_of.get)

    def other(path: str, size: int) -> Row:
        request = row("a", 1).request._replace(image_path=path)
        return row("b", 1)._replace(request=request, fingerprint=request.fingerprint(), image_bytes=size)

    assert counts(ledger, other("./img/a.png", 2), origin=origin) == {Action.HELD: 1}
    assert counts(ledger, other("b.png", 2), origin=origin) == {Action.SEND: 1}
    assert counts(ledger, other("unreadable.png", 2), origin=origin) == {Action.SEND: 1}
    assert counts(ledger, other("./img/a.png", 3), origin=origin) == {Action.SEND: 1}  # of another size: never hashed


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        (Payer("local", "acc-1", "k1"), Payer("local", "acc-1", "k2"), True),
        (Payer("local", "acc-1", "k1"), Payer("local", "acc-2", "k1"), False),
        (Payer("local", None, "k1"), Payer("local", None, "k1"), True),
        (Payer("local", None, "k1"), Payer("local", None, "k2"), False),
        (Payer("local"), Payer("local", "acc-1", "k1"), True),  # no one knows: better ask than pay
        (Payer("local"), Payer("api.example.com"), False),
    ],
    ids=str,
)
def test_another_account_pays_for_itself(ledger: Ledger, first: Payer, second: Payer, held: bool) -> None:
    """Where the account is not known, the API and the key stand for it."""
    load(ledger, rows_of("a"), origin=Origin(mark=str, payer=first))
    pay(ledger, "a")
    origin = Origin(mark=str, payer=second)
    assert counts(ledger, *rows_of("a"), batch=AUTUMN, origin=origin) == {Action.HELD if held else Action.SEND: 1}
    worker = begin(ledger, "second", batch=AUTUMN)
    assert len(worker.claim()) == (0 if held else 1)


@pytest.mark.parametrize(("policy", "action"), [(SEND, Action.SEND), (SKIP, Action.HELD)])
def test_what_someone_wants_done_with_them(ledger: Ledger, policy: RepeatPolicy, action: Action) -> None:
    """Sent when that is wanted, whatever an earlier run said; else left."""
    load(ledger, rows_of("a"))
    pay(ledger, "a")
    again = [named("b", "a")]
    load(ledger, again)
    assert counts(ledger, *again, repeats=policy) == {action: 1}
    assert entry(ledger, "b")["paid_as"] == (None if policy is SEND else '["spring", "a"]')
    assert len(begin(ledger, "next").claim()) == (1 if policy is SEND else 0)


def test_a_row_that_waits_already_is_held_too(ledger: Ledger) -> None:
    """It was loaded before anyone had paid, and nothing about it has changed since."""
    load(ledger, rows_of("a"), batch=AUTUMN)
    load(ledger, rows_of("a"))
    pay(ledger, "a")
    assert counts(ledger, *rows_of("a"), batch=AUTUMN) == {Action.HELD: 1}
    assert entry(ledger, "a", AUTUMN)["error_message"] == HELD_BY.format("a")
    assert begin(ledger, batch=AUTUMN).claim() == []


def test_the_mark_goes_with_its_reason(ledger: Ledger) -> None:
    """Once the manifest says something else, the row is sent."""
    load(ledger, rows_of("a"))
    pay(ledger, "a")
    load(ledger, [named("b", "a")])
    assert counts(ledger, row("b", 1, "Fast zoom")) == {Action.SEND: 1}
    assert entry(ledger, "b")["paid_as"] is None
    assert keys(begin(ledger, "next").claim()) == ["b"]


def test_what_is_ordered_anew_is_not_held_by_its_own_first_video(ledger: Ledger) -> None:
    """The same key in the same manifest is no one else's name."""
    load(ledger, rows_of("a"))
    pay(ledger, "a")
    set_row(ledger, "a", state=RowState.COMPLETE)
    assert counts(ledger, *rows_of("a"), regenerate=Regenerate.ALL) == {Action.SEND: 1}
    assert [line["paid_as"] for line in lines(ledger, "a")] == [None, None]


def test_the_intent_looks_once_more(ledger: Ledger) -> None:
    """Two batches were loaded before either had paid: the second to send waits, and says why."""
    load(ledger, rows_of("a"))
    load(ledger, rows_of("a"), batch=AUTUMN)
    first, second = begin(ledger, "one"), begin(ledger, "two", batch=AUTUMN)
    mine, theirs = first.claim()[0], second.claim()[0]
    assert first.admit(first.intent(mine)) is Admission.ADMITTED
    assert second.admit(second.intent(theirs)) is Admission.HELD
    held = entry(ledger, "a", AUTUMN)
    assert (held["state"], held["error_code"], held["attempts"]) == ("pending", "held", 0)
    assert held["error_message"] == HELD_BY.format("a")
    assert begin(ledger, "three", batch=AUTUMN).claim() == []


@pytest.mark.parametrize("older_first", [False, True])
def test_a_claimed_row_whose_key_is_rewritten_is_paid_for_once(ledger: Ledger, *, older_first: bool) -> None:
    """Another worker reads the manifest with the new key: whichever of the two sends first, the other one is held."""
    load(ledger, [named("7", "7")])
    older = begin(ledger, "older")
    (old,) = older.claim()
    load(ledger, [named("007", "7")])
    newer = begin(ledger, "newer")
    (new,) = newer.claim()
    both = [(older, old), (newer, new)]
    (first, its), (second, others) = both if older_first else both[::-1]
    first.send(its)
    assert second.admit(second.intent(others)) is Admission.HELD


def test_a_row_that_gets_its_video_late_still_holds_a_rewritten_key(ledger: Ledger) -> None:
    """Given back and read again at another rate, it is known by its request as before."""
    load(ledger, [named("7", "7")])
    worker = begin(ledger)
    (taken,) = worker.claim()
    intent = worker.intend(taken)
    tell(ledger, intent, Ending.HALTED)
    load(ledger, [named("7", "7")._replace(credits_estimated=60)])
    assert tell(ledger, intent)
    assert counts(ledger, named("007", "7")) == {Action.HELD: 1}


def test_two_dated_files_that_start_at_once_pay_once(ledger_url: str) -> None:
    """Whichever of two workers is first, in transactions of their own at the same moment."""
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        names = [f"key-{number}" for number in range(20)]
        load(one, rows_of(*names))
        load(other, rows_of(*names), batch=AUTUMN)
        both = [(begin(one, "one"), "one"), (begin(other, "two", batch=AUTUMN), "two")]
        taken = [worker.claim() for worker, _ in both]
        at_once = Barrier(2)

        def send(index: int) -> list[Admission]:
            worker = both[index][0]
            said = []
            for claimed in taken[index] if index else reversed(taken[index]):
                at_once.wait(30)
                said.append((claimed.row_key, worker.admit(worker.intent(claimed))))
            return [admission for _, admission in sorted(said)]

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(send, (0, 1))
    assert all({a, b} == {Admission.ADMITTED, Admission.HELD} for a, b in zip(first, second, strict=True))
