"""From which manifest a batch was read last, by the plan that its reader left."""

from __future__ import annotations

import json
from functools import partial

from acting import SPRING

from reelbatch.domain import RunId
from reelbatch.ledger import Ledger, manifest_lock, utc_now
from reelbatch.ledger.manifest_lock import Load, Loaded


def test_the_last_manifest_of_a_batch_is_known_by_its_name(ledger: Ledger) -> None:
    """Once it was read to its end; while another one is read, none is known."""

    def named() -> dict[str, str]:
        return ledger.read(manifest_lock.manifests)

    for name in ("spring.csv", "Frühling 2.csv"):
        load = Load(SPRING, RunId("run-1"), name, utc_now())
        ledger.change(partial(manifest_lock.begin, items=[load]))
        assert named() == {}
        ledger.change(partial(manifest_lock.end, items=[Loaded(load, json.dumps({"manifest": name, "rows": 2}))]))
        assert named() == {SPRING: name}
