"""Rows in doubt, cleared up against what the API really has."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

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

    def reconcile(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The command in this process; its exit code and JSON."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["reelbatch", *self._stated(arguments)])
            patch.setenv("MAGIC_HOUR_API_KEY", self.api.key)
            with pytest.raises(SystemExit) as left:
                main()
        return int(left.value.code or 0), _answer(out.getvalue(), err.getvalue())

    def process(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The same as a process of its own."""
        run = subprocess.run(
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


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with start(render_video=False) as api:
        yield made(tmp_path, api)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """One for all the commands that may not change it."""
    with start(render_video=False) as api:
        yield made(tmp_path_factory.mktemp("unchanged"), api)


def test_both_rows_are_cleared_up_and_the_books_add_up(table: Table) -> None:
    """The charged one by its id, the other by being sent again; in the end every row is paid for once."""
    listed = table.process()[1]["in_doubt"]
    doubtful = {row["row_key"]: row["token"] for row in listed}
    assert doubtful == table.doubtful()
    found = {key: video for key, token in doubtful.items() if (video := table.video_of(token))}
    (charged,) = found
    (free,) = set(doubtful) - set(found)
    assert table.process("--row", charged, "--video-id", found[charged])[0] == 1  # one is left
    code, answer = table.process("--row", free, "--not-created")
    assert (code, answer["in_doubt"]) == (0, [])
    report = table.generate()
    books = table.api.books()
    assert report.submitted == 1
    assert books["double_charged"] == {}
    assert report.status.credits.charged == report.status.credits.worst_case == books["charged"]
    ids = reelbatch.results(table.url)["video_id"].tolist()
    assert sorted(ids) == sorted(charge["video_id"] for charge in books["charges"])


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


def test_many_at_once_from_a_file(table: Table, tmp_path: Path) -> None:
    """One line for each row, also with a byte order mark, as spreadsheets write it."""
    lines = [f"{key},{table.video_of(token) or 'not_created'}" for key, token in table.doubtful().items()]
    file = tmp_path / "found.csv"
    file.write_text("\n".join(["row_key,video_id", *lines, "K1,not_created"]), encoding="utf-8-sig")
    code, answer = table.reconcile("--from", str(file))
    problems = {row["row_key"]: row["problem"] for row in answer["resolved"]}
    assert (code, answer["in_doubt"]) == (1, [])
    assert "line 4: the row is not in doubt" in problems.pop("K1")
    assert set(problems.values()) == {None}


def test_every_decision_is_kept(table: Table) -> None:
    """With who, when, which attempt and what was decided."""
    from reelbatch.ledger import Ledger
    from reelbatch.ledger.schema import decisions

    key, token = min(table.doubtful().items())
    table.reconcile("--row", key, "--not-created")
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
