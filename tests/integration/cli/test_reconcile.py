"""Rows in doubt, cleared up against what the API really has."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import forked
import httpx
import pytest
from commands import run_here

import reelbatch
from reelbatch.cli import main
from reelbatch.sandbox import RunningSandbox, start

LOST_AND_CHARGED = 2  # the second create
LOST_AND_FREE = 4


class Table:
    """A batch of six rows of which two are in doubt: one was charged, the other was not."""

    def __init__(self, folder: Path, api: RunningSandbox) -> None:
        self.api = api
        self.manifest = folder / "m.csv"
        lines = [f"K{number},https://img.example/{number}.png,a prompt,5" for number in range(1, 7)]
        self.manifest.write_text("\n".join(["row_key,image_path,prompt,end_seconds", *lines]))
        self.url = f"sqlite:///{folder}/r.db"

    def generate(self, **settings: Any) -> Any:
        """Without Prefect, one create after the other."""
        where = {"results": self.url, "base_url": self.api.url, "api_key": self.api.key}
        return reelbatch.generate(self.manifest, **where, **{"concurrency": 1, **settings})

    def reconcile(self, *arguments: str, key: str | None = None) -> tuple[int, dict[str, Any]]:
        """The command in this process; its exit code and JSON."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["reelbatch", *self._stated(arguments)])
            patch.setenv("MAGIC_HOUR_API_KEY", key or self.api.key)
            with pytest.raises(SystemExit) as left:
                main()
        return int(left.value.code or 0), _answer(out.getvalue(), err.getvalue())

    def process(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The same as a process of its own."""
        run = forked.run(
            [sys.executable, "-m", "reelbatch", *self._stated(arguments)],
            env={**os.environ, "MAGIC_HOUR_API_KEY": self.api.key},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return run.returncode, _answer(run.stdout, run.stderr)

    def _stated(self, arguments: Iterable[str]) -> list[str]:
        return ["reconcile", "--results", self.url, "--base-url", self.api.url, "--json", *arguments]

    def doubtful(self) -> dict[str, str]:
        """Row key to token of the rows in doubt."""
        frame = reelbatch.results(self.url)
        return dict(frame[frame["state"] == "in_doubt"][["row_key", "token"]].itertuples(index=False))

    def charges(self) -> list[dict[str, Any]]:
        """What the API charged for this batch's rows, for every sender and attempt."""
        tokens = set(self.tokens())
        return [charge for charge in self.api.books()["charges"] if charge["token"] in tokens]

    def tokens(self) -> list[str]:
        """The tokens of all attempts."""
        from sqlalchemy import select

        from reelbatch.ledger import Ledger
        from reelbatch.ledger.schema import attempts

        with Ledger.to_read(self.url) as ledger:
            return list(ledger.read(lambda connection: connection.scalars(select(attempts.c.token)).all()))

    def video_of(self, token: str) -> str | None:
        """What a person finds in the vendor's library under a name with this ending."""
        found = [charge["video_id"] for charge in self.api.books()["charges"] if charge["token"] == token]
        return found[0] if found else None


def _answer(out: str, err: str) -> dict[str, Any]:
    assert "Traceback" not in err
    return json.loads(out) if out else {"error": err}


def made(folder: Path, api: RunningSandbox) -> Table:
    """The batch with its two rows in doubt."""
    api.set_faults(script=[None, "lost_after", None, "lost_before"])
    table = Table(folder, api)
    assert table.generate().status.states["in_doubt"] == 2
    return table


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """The API of all tests here; tokens tell their rows apart."""
    with start(render_video=False) as sandbox:
        yield sandbox


@pytest.fixture
def table(tmp_path: Path, sandbox: RunningSandbox) -> Table:
    return made(tmp_path, sandbox)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory, running: RunningSandbox) -> Table:
    """One for all the commands that may not change it."""
    return made(tmp_path_factory.mktemp("unchanged"), running)


def test_both_rows_are_cleared_up_and_the_books_add_up(table: Table) -> None:
    """The charged one by its id, the other by being sent again; in the end every row is paid for once."""
    listed = table.process()[1]["in_doubt"]
    doubtful = {row["row_key"]: row["token"] for row in listed}
    assert doubtful == table.doubtful()
    found = {key: video for key, token in doubtful.items() if (video := table.video_of(token))}
    (charged,) = found
    (free,) = set(doubtful) - set(found)
    assert table.process("--row", charged, "--video-id", found[charged])[0] == 1  # one is left
    code, answer = table.process("--row", free, "--not-created", "--now")
    assert (code, answer["in_doubt"]) == (0, [])
    report = table.generate()
    charges = table.charges()
    assert report.submitted == 1
    assert len(charges) == len({charge["row"] for charge in charges}) == 6
    charged_for = sum(charge["credits"] for charge in charges)
    assert report.status.credits.charged == report.status.credits.worst_case == charged_for
    ids = reelbatch.results(table.url)["video_id"].tolist()
    assert sorted(ids) == sorted(charge["video_id"] for charge in charges)


def test_an_id_is_believed_only_under_the_row_s_own_token(table: Table) -> None:
    """Another row's video, or one that the API does not know, changes nothing."""
    key = min(table.doubtful())
    frame = reelbatch.results(table.url)
    foreign = str(frame[frame["state"] == "queued"]["video_id"].iloc[0])
    for wrong, why in ((foreign, "does not end in this row's token"), ("nonsense", "does not confirm")):
        code, answer = table.reconcile("--row", key, "--video-id", wrong)
        assert code == 1
        assert why in answer["resolved"][0]["problem"]
    assert key in table.doubtful()


def test_a_bad_key_has_its_remedy(table: Table) -> None:
    """The id may be right: the API was not asked about it."""
    row = min(table.doubtful())
    code, answer = table.reconcile("--row", row, "--video-id", "c1", key="wrong")
    assert (code, "Check MAGIC_HOUR_API_KEY" in answer["resolved"][0]["problem"]) == (1, True)


def test_many_at_once_from_a_file(table: Table, tmp_path: Path) -> None:
    """One line for each row, also with a byte order mark, as spreadsheets write it."""
    lines = [f"{key},{table.video_of(token) or 'not_created'}" for key, token in table.doubtful().items()]
    file = tmp_path / "found.csv"
    file.write_text("\n".join(["row_key,video_id", *lines, "K1,not_created"]), encoding="utf-8-sig")
    code, answer = table.reconcile("--from", str(file), "--now")
    problems = {row["row_key"]: row["problem"] for row in answer["resolved"]}
    assert (code, answer["in_doubt"]) == (1, [])
    assert "line 4: the row is not in doubt (it is queued)" in problems.pop("K1")
    assert set(problems.values()) == {None}


def test_of_two_requests_in_doubt_the_one_that_is_meant_is_decided(table: Table, tmp_path: Path) -> None:
    """An id says it by its video's name; that nothing was made is not guessed, and a list says it by the token."""
    found = {bool(table.video_of(token)): (key, token) for key, token in table.doubtful().items()}
    (charged, first), (free, second) = found[True], found[False]
    for key in (charged, free):
        further(table, key, f"rb_again{key}")
    assert (
        table.reconcile("--row", charged, "--video-id", str(table.video_of(first)))[1]["resolved"][0]["problem"]
        is None
    )
    code, answer = table.reconcile("--row", free, "--not-created", "--now")
    problem = answer["resolved"][0]["problem"]
    assert (code, len(answer["in_doubt"])) == (1, 3)
    assert all(said in problem for said in (second, f"rb_again{free}", "--csv FILE"))
    file = tmp_path / "found.csv"
    for token, says in ((second, None), (second, "by now it is")):
        file.write_text(f"row_key,name_ends_in,video_id\n{free},{token},not_created\n")
        (resolved,) = table.reconcile("--from", str(file), "--now")[1]["resolved"]
        assert (resolved["problem"] is None) if says is None else (says in resolved["problem"])
    left = {row["token"] for row in table.reconcile()[1]["in_doubt"]}
    assert left == {f"rb_again{charged}", f"rb_again{free}"}


def further(table: Table, key: str, token: str) -> None:
    """A further video of the row is in doubt too."""
    from sqlalchemy import insert, literal, select

    from reelbatch.ledger import Ledger
    from reelbatch.ledger.schema import attempts, generations

    other = {"token": literal(token), "generation": literal(2)}

    def copy(connection: Any) -> None:
        for lines in (generations, attempts):
            names = list(lines.c.keys())
            own = select(*(other.get(name, lines.c[name]) for name in names)).where(lines.c.row_key == key)
            connection.execute(insert(lines).from_select(names, own))

    with Ledger(table.url) as ledger:
        ledger.change(copy)


def test_every_decision_is_kept(table: Table) -> None:
    """With who, when, which attempt and what was decided."""
    from reelbatch.ledger import Ledger
    from reelbatch.ledger.schema import decisions

    key, token = min(table.doubtful().items())
    table.reconcile("--row", key, "--not-created", "--now")
    with Ledger(table.url) as ledger:
        (kept,) = ledger.read(lambda connection: connection.execute(decisions.select()).mappings().all())
    assert (kept["row_key"], kept["token"], kept["verdict"]) == (key, token, "not_created")
    assert kept["decided_by"]
    assert kept["decided_at"].tzinfo is not None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--row", "K2"], "either --video-id ID or --not-created"),
        (["--row", "K2", "--video-id", "x", "--not-created"], "either --video-id ID or --not-created"),
        (["--not-created"], "--row says which row"),
        (["--from", "nowhere.csv"], "nowhere.csv"),
        (["--row", "K2", "--row", "K4", "--video-id", "x"], "one --row"),
        (["--row", "K2", "--row", "K9", "--not-created", "--now"], 'batch "m" has no row with the key K9'),
        (["--now"], "--now goes with"),
        (["--undo"], 'no decision about batch "m"'),
        (["--undo", "--row", "K2"], "no decision about K2"),
        (["--undo", "--row", "K2", "--not-created"], "--undo takes a decision back"),
        (["--csv", "x.csv", "--row", "K2"], "--csv writes the list"),
        (["--batch", "other"], "no such batch"),
    ],
)
def test_what_can_t_be_carried_out_is_said(unchanged: Table, arguments: list[str], says: str) -> None:
    """Exit code 2, and nothing was changed."""
    before = reelbatch.results(unchanged.url)
    code, answer = unchanged.reconcile(*arguments)
    assert code == 2
    assert says in answer["error"]
    assert reelbatch.results(unchanged.url).equals(before)
    assert len(unchanged.doubtful()) == 2


def test_the_tool_s_own_export_decides_nothing(table: Table, tmp_path: Path) -> None:
    """Its rows in doubt have no id, and a blank is no one's word; rows that have their id are as they were."""
    before = reelbatch.results(table.url)
    export(table.url, tmp_path / "own.csv")
    code, answer = table.reconcile("--from", str(tmp_path / "own.csv"))
    assert (code, len(answer["in_doubt"]), answer["blank"]) == (1, 2, 2)
    assert all(row["unchanged"] and row["problem"] is None for row in answer["resolved"])
    assert reelbatch.results(table.url).equals(before)


def export(url: str, file: Path) -> None:
    """The results table as `reelbatch export` writes it."""
    from reelbatch.ledger import Ledger
    from reelbatch.pipeline.export import export as write

    with Ledger.to_read(url) as ledger:
        write(ledger, str(file))


def test_the_list_is_written_filled_in_and_taken_back(table: Table, tmp_path: Path) -> None:
    """Unchanged it decides nothing; what someone writes into it is carried out; and no one overwrites it."""
    file = tmp_path / "new" / "folder" / "doubts.csv"
    assert table.reconcile("--csv", str(file))[0] == 1
    with file.open(encoding="utf-8-sig", newline="") as text:
        lines = list(csv.DictReader(text))
    assert {line["row_key"]: line["name_ends_in"] for line in lines} == table.doubtful()
    assert [(line["batch"], line["prompt"], line["video_id"]) for line in lines] == [("m", "a prompt", "")] * 2
    assert lines[0]["image_path"].startswith("https://img.example/")
    code, answer = table.reconcile("--csv", str(file))
    assert code == 2
    assert "exists already" in answer["error"]
    assert "can't be written" in table.reconcile("--csv", str(file / "doubts.csv"))[1]["error"]
    assert table.reconcile("--from", str(file))[1]["blank"] == 2
    assert len(table.doubtful()) == 2
    for line in lines:
        line["video_id"] = table.video_of(line["name_ends_in"]) or "not_created"
    with file.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.DictWriter(text, list(lines[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(lines)
    assert table.reconcile("--from", str(file), "--now")[0] == 0
    assert table.doubtful() == {}


def test_a_key_that_a_spreadsheet_rewrote_is_asked_about(unchanged: Table, tmp_path: Path) -> None:
    """It decides nothing about the row that is meant, and names it."""
    file = tmp_path / "found.csv"
    file.write_text("row_key,video_id\n'k2,not_created\n")
    code, answer = unchanged.reconcile("--from", str(file), "--now")
    assert code == 1
    assert 'has no row with the key \'k2. Did you mean "K2"?' in answer["resolved"][0]["problem"]
    assert len(unchanged.doubtful()) == 2


@pytest.mark.parametrize("batch", [[], ["--batch", "m"]])
def test_rows_of_another_batch_are_named(unchanged: Table, tmp_path: Path, batch: list[str]) -> None:
    """A file about something else is not carried out in part."""
    file = tmp_path / "found.csv"
    file.write_text("batch,row_key,video_id\nm,K2,not_created\nother,K4,not_created\n")
    code, answer = unchanged.reconcile("--from", str(file), "--now", *batch)
    assert code == 2
    assert "line 3" in answer["error"]
    assert "other" in answer["error"]
    assert len(unchanged.doubtful()) == 2


def test_a_young_row_is_not_declared_not_created(table: Table, tmp_path: Path) -> None:
    """Its video may still appear; `--now` takes the risk; several rows may be named at once."""
    first, second = sorted(table.doubtful())
    file = tmp_path / "found.csv"
    file.write_text(f"row_key,video_id\n{first},not_created\n")
    for arguments in (["--row", first, "--not-created"], ["--from", str(file)]):
        code, answer = table.reconcile(*arguments)
        assert code == 1
        assert "may still appear" in answer["resolved"][0]["problem"]
        assert "--now" in answer["resolved"][0]["problem"]
    assert len(table.doubtful()) == 2
    code, answer = table.reconcile("--row", first, "--row", second, "--not-created", "--now")
    assert (code, [row["row_key"] for row in answer["resolved"]]) == (0, [first, second])


def test_an_old_row_needs_no_consent(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """`doubt_min_age_s` says what is old."""
    monkeypatch.setenv("REELBATCH_DOUBT_MIN_AGE_S", "0")
    assert table.reconcile("--row", min(table.doubtful()), "--not-created")[1]["resolved"][0]["problem"] is None


def test_the_last_decision_is_taken_back(table: Table) -> None:
    """Said too early: the row is in doubt again, and a second `generate` does not pay for it twice."""
    before = reelbatch.results(table.url)
    keys = sorted(table.doubtful())
    table.reconcile("--row", keys[0], "--row", keys[1], "--not-created", "--now")
    assert table.doubtful() == {}
    code, answer = table.reconcile("--undo")
    assert code == 1
    assert {(row["row_key"], row["verdict"], row["problem"]) for row in answer["resolved"]} == {
        (key, "undone", None) for key in keys
    }
    assert reelbatch.results(table.url).equals(before)
    assert table.generate().sent == 0


def test_what_was_sent_again_is_not_taken_back(table: Table) -> None:
    """It has another id by now."""
    key = next(key for key, token in table.doubtful().items() if not table.video_of(token))
    table.reconcile("--row", key, "--not-created", "--now")
    table.generate()
    code, answer = table.reconcile("--undo")
    assert code == 1
    assert "goes by another attempt since, and is queued" in answer["resolved"][0]["problem"]


def test_an_id_that_is_found_later_is_booked_beside_the_row_s_other_video(table: Table) -> None:
    """It was said to have made none, and the row was sent again: what it cost is known all the same."""
    key, token = next((key, token) for key, token in table.doubtful().items() if table.video_of(token))
    free = next(other for other in table.doubtful() if other != key)
    table.reconcile("--row", key, "--not-created", "--now")
    table.reconcile("--row", free, "--not-created", "--now")
    table.generate()
    own = row_of(table, key)["video_id"]
    code, answer = table.reconcile("--row", key, "--video-id", str(table.video_of(token)))
    assert (code, answer["resolved"][0]["problem"]) == (0, None)
    assert row_of(table, key)["video_id"] == own
    charged = sum(charge["credits"] for charge in table.charges())
    assert reelbatch.status(results=table.url)["m"].credits.charged == charged
    code, answer = table.reconcile("--row", key, "--not-created", "--now")
    assert "the row is not in doubt" in answer["resolved"][0]["problem"]


def test_what_was_to_be_paid_for_once_more_is_listed_until_it_is_cleared_up(table: Table, tmp_path: Path) -> None:
    """The row goes on as its manifest states it now, and its first request may still have been charged."""
    doubtful = table.doubtful()
    charged = next(key for key, token in doubtful.items() if table.video_of(token))
    free = next(key for key in doubtful if key != charged)
    again(table)
    table.manifest.write_text(table.manifest.read_text().replace("a prompt", "another prompt"))
    table.generate()
    code, answer = table.reconcile()
    assert code == 0  # no row is in doubt
    assert {each["row_key"]: each["token"] for each in answer["in_doubt"]} == doubtful
    assert {(each["sent_again"], each["prompt"]) for each in answer["in_doubt"]} == {(True, "a prompt")}
    reserved = sum(each["credits_reserved"] for each in answer["in_doubt"])
    assert reelbatch.status(results=table.url)["m"].credits.in_doubt == reserved
    reelbatch.settle("m", results=table.url, base_url=table.api.url, api_key=table.api.key)
    listed = (
        "→ reelbatch reconcile --results {0} --batch m   # 2 in doubt, of rows that were to be paid for once more"
    )
    assert listed.format(table.url) in run_here(tmp_path, "status", "--results", table.url).out
    found = str(table.video_of(doubtful[charged]))
    assert table.reconcile("--row", charged, "--video-id", found)[1]["resolved"][0]["problem"] is None
    code, answer = table.reconcile("--row", free, "--not-created", "--now")  # perhaps said of the row before
    assert (code, "the row is not in doubt" in answer["resolved"][0]["problem"]) == (1, True)
    assert doubtful[free] in answer["resolved"][0]["problem"]
    file = tmp_path / "found.csv"
    file.write_text(f"row_key,name_ends_in,video_id\n{free},{doubtful[free]},not_created\n")
    code, answer = table.reconcile("--from", str(file), "--now")
    assert (code, answer["in_doubt"]) == (0, [])
    assert set(reelbatch.results(table.url)["state"]) == {"complete"}
    assert "→" not in run_here(tmp_path, "status", "--results", table.url).out
    money = reelbatch.status(results=table.url)["m"].credits
    assert (money.in_doubt, money.charged) == (0, sum(charge["credits"] for charge in table.charges()))


def again(table: Table) -> None:
    """Consent to pay for the rows in doubt once more; nothing is sent yet."""
    from functools import partial

    from reelbatch.domain import Batch, RowState
    from reelbatch.ledger import Ledger, reruns

    with Ledger(table.url) as ledger:
        chosen = reruns.Selection(batch=Batch("m"), states=frozenset({RowState.IN_DOUBT}))
        assert ledger.change(partial(reruns.request, selection=chosen)) == 2


def row_of(table: Table, key: str) -> dict[str, Any]:
    """The row as `results` shows it."""
    frame = reelbatch.results(table.url)
    return dict(frame[frame["row_key"] == key].iloc[0])


def test_an_id_is_given_to_one_row(table: Table) -> None:
    """The name says this row, the table says another: no one's word settles that."""
    from sqlalchemy import update

    from reelbatch.ledger import Ledger
    from reelbatch.ledger.schema import attempts

    key, video_id = next((key, found) for key, token in table.doubtful().items() if (found := table.video_of(token)))
    with Ledger(table.url) as ledger:
        theirs = update(attempts).where(attempts.c.row_key == "K1").values(video_id=video_id)
        ledger.change(lambda connection: connection.execute(theirs))
    code, answer = table.reconcile("--row", key, "--video-id", video_id)
    assert code == 1
    assert "that of row K1" in answer["resolved"][0]["problem"]
    assert key in table.doubtful()


def test_a_copy_under_an_earlier_token_takes_no_ids_place(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """The row's first video failed, its second is in doubt: a copy that carries the first one's name is neither."""
    table = Table(tmp_path, sandbox)
    sandbox.set_faults(script=["render_error"])
    table.generate(limit=1)
    where = {"results": table.url, "base_url": table.api.url, "api_key": table.api.key}
    reelbatch.settle("m", **where)
    failed = row_of(table, "K1")
    sandbox.set_faults(script=["lost_before"])
    reelbatch.rerun("m", **where)
    assert set(table.doubtful()) == {"K1"}
    copy = httpx.post(
        f"{sandbox.url}/v1/image-to-video",
        headers={"Authorization": f"Bearer {sandbox.key}"},
        json={
            "name": f"K1 {failed['token']}",
            "assets": {"image_file_path": "https://img.example/1.png"},
            "end_seconds": 5,
        },
    ).json()
    before = attempts_of(table)
    code, answer = table.reconcile("--row", "K1", "--video-id", copy["id"])
    assert (code, attempts_of(table)) == (1, before)
    assert "does not end in this row's token" in answer["resolved"][0]["problem"]


def attempts_of(table: Table) -> dict[str, str | None]:
    """The id of each attempt's video, by its token."""
    from sqlalchemy import select

    from reelbatch.ledger import Ledger
    from reelbatch.ledger.schema import attempts

    with Ledger.to_read(table.url) as ledger:
        ids = select(attempts.c.token, attempts.c.video_id)
        return {token: video_id for token, video_id in ledger.read(lambda connection: connection.execute(ids).all())}  # noqa: C416 - rows are no tuples to mypy
