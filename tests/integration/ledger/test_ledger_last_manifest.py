"""From which manifest a batch was read last, by the plan that its reader left."""

from __future__ import annotations

import json
from functools import partial

from acting import SPRING

from reelbatch.domain import RunId
from reelbatch.ledger import Ledger, manifest_lock, utc_now
from reelbatch.ledger.manifest_lock import Load, Loaded


def test_the_last_manifest_of_a_batch_is_known_by_its_name(ledger: Ledger) -> None:
    """Once it was read to its end; while another one is read, the one before it, also where that can't be used."""

    def named() -> dict[str, str]:
        return ledger.read(manifest_lock.manifests)

    def begin(name: str) -> Load:
        load = Load(SPRING, RunId("run-1"), name, utc_now())
        assert ledger.change(partial(manifest_lock.begin, items=[load])) == [manifest_lock.Mine()]
        return load

    before: dict[str, str] = {}
    for name in ("spring.csv", "Frühling 2.csv"):
        ledger.change(partial(manifest_lock.give_up, items=[begin("damaged.csv")]))
        assert named() == before
        assert not ledger.read(partial(manifest_lock.last_read, batch=SPRING))
        load = begin(name)
        assert named() == before
        ledger.change(partial(manifest_lock.end, items=[Loaded(load, json.dumps({"manifest": name, "rows": 2}))]))
        assert named() == (before := {SPRING: name})


def test_a_name_that_is_no_utf_8_is_not_known(ledger: Ledger) -> None:
    """A table in which one stands stays readable."""
    load = Load(SPRING, RunId("run-1"), "digest", utc_now())
    ledger.change(partial(manifest_lock.begin, items=[load]))
    found = json.dumps({"manifest": "caf\udce9.csv", "rows": 2})
    ledger.change(partial(manifest_lock.end, items=[Loaded(load, found)]))
    assert ledger.read(manifest_lock.manifests) == {}
