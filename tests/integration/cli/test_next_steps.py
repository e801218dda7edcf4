"""What a command says to do next: it is the way out, and it works as it is printed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import PRICE, Customer
from commands import Ran, run_here
from sqlalchemy import update

from reelbatch.ledger import Ledger
from reelbatch.ledger.schema import batches
from reelbatch.pipeline.advice import advice
from reelbatch.sandbox import RunningSandbox, start

UNUSABLE = 2


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with start(render_video=False, queue_seconds=0, render_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture
def customer(tmp_path: Path, sandbox: RunningSandbox) -> Customer:
    return Customer(tmp_path, sandbox)


def printed(text: str) -> list[str]:
    """Commands in what was said: between backticks, or behind an arrow."""
    return re.findall(r"`(reelbatch [^`]+)`", text) + re.findall(r"→ (?:\w+: )?(reelbatch [^#\n]+)", text)


def typed(customer: Customer, command: str) -> Ran:
    """A printed command, typed as it stands, in the same shell."""
    shell = {"MAGIC_HOUR_API_KEY": customer.api.key, "REELBATCH_BASE_URL": customer.api.url}
    return run_here(customer.folder, *shlex.split(command)[1:], **shell)


def test_an_order_that_only_a_doubt_keeps_open_names_reconcile(customer: Customer) -> None:
    """Neither its own command nor a cancel ends it; both, and another order, say what does."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, settle=True)
    customer.api.set_faults(script=["lost_after"])
    customer.generate(spring, regenerate="all", concurrency=1)
    where = ("--batch", "spring")
    other = customer.run("plan", spring, "--regenerate", "all", "--rows", "spring-1")
    canceled = customer.run("generate", spring, "--regenerate", "cancel", *where)
    assert (other.code, canceled.code) == (UNUSABLE, 0)
    for said in (other.err, canceled.out):
        (command,) = printed(said)
        listed = typed(customer, command)
        assert "1 row in doubt" in listed.out
    (token,) = customer.tokens().values()
    *_, found = [line for line in listed.out.splitlines() if "found:" in line]
    command = found.partition("found:")[2].replace("KEY", "spring-1").replace("ID", customer.video_of(token) or "")
    assert typed(customer, command.strip()).code == 0
    customer.run("generate", spring, "--regenerate", "cancel")
    planned = customer.run("plan", spring, "--regenerate", "cancel")
    (command,) = printed(planned.err)
    assert (planned.code, "sends nothing" in planned.err) == (UNUSABLE, True)
    assert "no order is open" in typed(customer, command).out


def test_held_rows_are_looked_at_and_sent_by_what_is_printed(customer: Customer) -> None:
    """The same command again would hold them once more."""
    same = "https://img.example/same.png"
    customer.generate(customer.manifest("first", "pan", image_path=same), settle=True)
    later = customer.manifest("later", "pan", image_path=same)
    assert customer.generate(later).held_rows == 1
    for shown in (customer.run("runs"), customer.run("batches")):
        (command,) = printed(shown.out)
        said = typed(customer, command)
        assert "paid for as first-1 of batch first" in said.out
        assert "--repeats send sends them" in shown.out
    assert customer.generate(later, repeats="send").sent == 1


def test_rows_that_wait_for_a_budget_or_a_cap_are_not_sent_by_the_same_command(customer: Customer) -> None:
    """When they are, and by what; a cap of the last run goes on unless it was reached."""
    spring = customer.manifest("spring", "pan", "zoom", "tilt")
    month = {"credits": 2 * PRICE, "per": "month"}
    assert customer.generate(spring, budget=month, settle=True).sent == 2
    budget = {"REELBATCH_BUDGET": json.dumps(month)}
    for name in ("runs", "batches"):
        shown = customer.run(name, **budget).out
        assert "--batch spring   # 1 to send when the budget has room again, 1 " in shown
        assert "--batch spring   # 1 to send\n" in customer.run(name).out  # no budget is set any more
    assert customer.generate(spring, max_credits=2 * PRICE).sent == 0
    assert f"--max-credits N   # 1 to send: the cap of {2 * PRICE} was reached" in customer.run("batches").out
    customer.generate(spring, max_credits=3 * PRICE, limit=0)
    assert f"--max-credits {3 * PRICE}   # 1 to send\n" in customer.run("batches").out


def test_what_an_order_has_not_sent_is_the_next_step(customer: Customer) -> None:
    """By the command that goes on with it, which plain `generate` does not."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, settle=True)
    customer.generate(spring, regenerate="all", limit=1, settle=True)
    (command,) = printed(customer.run("batches").out)
    assert "--batch spring --regenerate all" in command
    planned = typed(customer, command.replace("generate", "plan", 1))
    assert "to send             1" in planned.out


def test_an_order_goes_on_though_a_row_of_it_left_the_manifest(customer: Customer) -> None:
    """By what is printed, also where the row was named; then only what drops it is printed, and that closes it."""
    spring = customer.manifest("spring", "pan", "zoom", "tilt")
    customer.generate(spring, settle=True)
    customer.generate(spring, regenerate="all", rows=["spring-1", "spring-3"], limit=0)
    spring = customer.manifest("spring", "pan", "zoom")
    told = customer.asked("generate", spring)
    assert told["order"].endswith("2 pending, of which 1 left the manifest")
    (command,) = printed(customer.run("batches").out)
    assert "--rows spring-1,spring-3" in command
    assert typed(customer, command.replace("generate", "plan", 1)).code == 0
    before = len(customer.charges())
    assert typed(customer, command).code == 0
    assert len(customer.charges()) == before + 1
    customer.asked("settle")
    (command,) = printed(customer.run("batches").out)
    assert "--regenerate cancel" in command
    assert typed(customer, command).code == 0
    assert customer.asked("status")["batches"][0]["order"] is None
    assert customer.run("generate", spring, "--regenerate", "all", "--rows", "spring-3").code == UNUSABLE


def test_an_order_whose_rows_still_render_waits_for_them(customer: Customer) -> None:
    """The command that goes on with it would send nothing before they are settled."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring)
    assert customer.generate(spring, regenerate="all").sent == 0
    (command,) = printed(customer.run("batches").out)
    assert (command.split()[1], typed(customer, command).code) == ("settle", 0)
    (command,) = printed(customer.run("batches").out)
    assert "--regenerate all" in command


def test_an_order_goes_on_under_the_cap_of_its_last_run(customer: Customer) -> None:
    """And waits for a budget as other rows do."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, settle=True)
    customer.generate(spring, regenerate="all", limit=1, max_credits=4 * PRICE, settle=True)
    assert f"--regenerate all --max-credits {4 * PRICE}   # 1 of an order to send" in customer.run("batches").out
    month = {"credits": 3 * PRICE, "per": "month"}
    customer.generate(spring, regenerate="all", budget=month)
    shown = customer.run("batches", REELBATCH_BUDGET=json.dumps(month)).out
    assert "--regenerate all   # 1 of an order to send when the budget has room again, 1 " in shown


def test_keys_with_commas_and_marks_can_be_named(customer: Customer) -> None:
    """In quotation marks, as in CSV; the command that goes on with such an order has them as well."""
    keys = ["Teapot, blue", 'Mug, 24" wide']
    spring = customer.manifest("spring", "pan", "zoom", row_key=keys)
    customer.generate(spring, settle=True)
    stated = '"Teapot, blue", "Mug, 24"" wide"'
    customer.run("generate", spring, "--regenerate", "all", "--rows", stated, "--limit", "1", "--yes")
    (step,) = [line for line in customer.run("status").out.splitlines() if line.startswith("→")]
    (command,) = printed(step)
    assert typed(customer, command).code == 0
    assert customer.asked("status")["batches"][0]["earlier_videos"] == len(keys)


def test_a_rerun_leaves_rows_of_an_order_to_that_order(customer: Customer) -> None:
    """Plain `generate` never sends them; rows of no order are its affair, under the table that was looked at."""
    spring = customer.manifest("spring", "pan", "zoom", "tilt")
    customer.generate(spring, limit=2, settle=True)
    customer.generate(spring, regenerate="all", rows=["spring-1", "spring-2"], limit=1, settle=True)
    left = [line for line in customer.run("rerun", "--dry-run").out.splitlines() if "left alone" in line]
    table = f"--results {customer.results} --batch spring"
    assert f"  left alone: 1 pending were not sent yet: `reelbatch generate {spring} {table}` sends them" in left
    order = f"reelbatch generate {spring} {table} --regenerate all --rows spring-1,spring-2"
    assert f"  left alone: 1 pending belong to an order: `{order}` sends them" in left


def test_in_the_sandbox_every_command_that_is_printed_stays_there(customer: Customer) -> None:
    """Its table is another one than that of the live API."""
    spring = customer.manifest("spring", "pan")
    table = f"sqlite:///{customer.folder}/results/sandbox/reelbatch.db"
    customer.generate(spring, results=table, limit=0)
    for words in (["rerun", "--dry-run"], ["runs"], ["batches"], ["batches", "--archive", "spring"]):
        said = run_here(customer.folder, *words, "--sandbox")
        commands = printed(said.out + said.err)
        assert commands or "--archive" in words
        assert all(command.rstrip().endswith("--sandbox") for command in commands)
    (customer.folder / "new").mkdir()
    none = run_here(customer.folder / "new", "rerun", "--dry-run", "--sandbox")
    assert (none.code, printed(none.err)) == (UNUSABLE, ["reelbatch generate MANIFEST --sandbox"])


@pytest.mark.parametrize("table", ["results/sandbox/reelbatch.db", "r.db"])
def test_a_table_of_the_sandbox_is_known_without_the_option(customer: Customer, table: str) -> None:
    """A user who names the table is told `--sandbox`; not where a local API is stated, or of another table."""
    spring, words = customer.manifest("spring", "pan"), ("status", "--results", table)
    customer.generate(spring, results=f"sqlite:///{customer.folder}/{table}", limit=0)
    (customer.folder / table).parent.joinpath("sandbox").mkdir(exist_ok=True)
    known = run_here(customer.folder, *words)
    stated = f"--results sqlite:///{table} --batch spring --sandbox"
    assert printed(known.out) == [f"reelbatch generate {spring} {stated}   "]
    own = run_here(customer.folder, *words, REELBATCH_BASE_URL=customer.api.url)
    assert "--sandbox" not in own.out
    with Ledger(f"sqlite:///{customer.folder}/{table}") as ledger:
        live = update(batches).values(api="api.magichour.ai")
        ledger.change(lambda connection: connection.execute(live))
    assert "--sandbox" not in run_here(customer.folder, *words).out


def test_status_says_the_last_run_and_the_next_step(customer: Customer) -> None:
    """At a glance and where it looks closer, to people and to machines; nothing is next where nothing is left."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, max_credits=PRICE, settle=True)
    for more in ([], ["--rows", "1"]):
        shown = customer.run("status", *more).out
        assert re.search(r"  last run    \d{4}-\d\d-\d\d \d\d:\d\d UTC · generate by \w+ · cap\n", shown)
        table = f"--results {customer.results} --batch spring"
        assert f"\n→ reelbatch generate {spring} {table} --max-credits N   # 1 to send" in shown
    customer.generate(spring)
    (command,) = printed(customer.run("status").out)
    assert command.startswith("reelbatch settle ")
    assert typed(customer, command).code == 0
    (found,) = customer.asked("status")["batches"]
    assert (found["last_run"]["command"], found["last_run"]["exit_reason"], found["next_step"]) == (
        "generate",
        "done",
        None,
    )
    assert "→" not in customer.run("status").out


def test_a_run_that_waited_for_its_videos_says_how_to_get_them(customer: Customer) -> None:
    """Where they are in no file yet; what is printed fetches them, and is not printed again."""
    spring = customer.manifest("spring", "pan", "zoom")
    (line,) = advice(customer.generate(spring, settle=True))
    assert line.endswith("fetches the videos that were not downloaded: 2.")
    (command,) = printed(line)
    assert customer.run(*shlex.split(command)[1:]).code == 0
    assert len(list((customer.folder / "videos").glob("*.mp4"))) == 2
    assert advice(customer.generate(spring, settle=True)) == []


def test_a_manifest_that_is_no_longer_there_is_not_named(customer: Customer) -> None:
    """The command says where one belongs; it was a DataFrame, was moved, or was named as seen from elsewhere."""
    spring = customer.manifest("spring", "pan", "zoom")
    customer.generate(spring, limit=1)
    for more in ([], ["--rows", "1"]):
        assert f"→ reelbatch generate {spring} " in customer.run("status", *more).out
    spring.rename(spring.with_name("moved.csv"))
    for more in ([], ["--rows", "1"]):
        assert "→ reelbatch generate MANIFEST " in customer.run("status", *more).out
