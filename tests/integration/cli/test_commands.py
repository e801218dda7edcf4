"""The command line as people type it; nothing here needs Prefect, and a process only where one is the subject."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
from commands import run_here

from reelbatch.cli import main
from reelbatch.cli.app import app
from reelbatch.cli.commands.generate import generate
from reelbatch.cli.commands.plan import plan
from reelbatch.domain import Batch
from reelbatch.ledger import Ledger, runs
from reelbatch.ledger.accounts import Payer

ROOT = Path(__file__).parents[3]
DATA = ROOT / "data"
COMMANDS = ("plan", "generate", "rerun", "settle", "status", "runs", "batches", "spend", "models", "export")
COMMANDS += ("reconcile", "doctor", "webhook", "sandbox")


def reelbatch(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in `cwd`, without any setting of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELBATCH_", "MAGIC_HOUR"))}
    return forked.run(
        [sys.executable, "-m", "reelbatch", *map(str, arguments)],
        cwd=cwd,
        env={**kept, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The same without a process: exit code and standard error, for what ends before any work begins."""
    for name in os.environ:
        if name.startswith(("REELBATCH_", "MAGIC_HOUR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["reelbatch", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), capsys.readouterr().err

    return run


def test_help_names_every_command(tmp_path: Path) -> None:
    """And each command has help of its own."""
    overview = reelbatch("--help", cwd=tmp_path)
    assert overview.returncode == 0
    assert all(command in overview.stdout for command in COMMANDS)


def test_every_command_that_ends_by_itself_has_json() -> None:
    """As README says; the others run until Ctrl-C."""
    with_json = {
        command.callback.__name__
        for command in app.registered_commands
        if command.callback and "as_json" in inspect.signature(command.callback).parameters
    }
    every = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert every - with_json == {"review", "webhook", "sandbox"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str, in_process: Callable[..., tuple[int, str]]) -> None:
    """In `--help` and in the README."""
    assert in_process(command, "--help") == (0, "")
    assert f"reelbatch {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [["plan", str(DATA / "catalogue.csv")], ["export", "out.csv"]],
    ids=lambda a: a[0],
)
def test_these_commands_do_not_import_prefect(arguments: list[str], tmp_path: Path) -> None:
    """They are for a quick look, and Prefect takes a second to import; of status and --help the next test tells."""
    script = (
        "import sys\nsys.argv = ['reelbatch', *sys.argv[1:]]\nfrom reelbatch.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'prefect']\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_plan_takes_every_option_of_generate() -> None:
    """So that a plan is asked for by changing one word."""
    assert inspect.signature(generate).parameters.keys() <= inspect.signature(plan).parameters.keys()


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], ["sqlalchemy", "sqlite3", "pydantic_settings"]),
        (["status"], ["sqlalchemy", "psutil"]),
        (["status", "--json"], ["sqlalchemy", "psutil", "rich"]),
        (["status", "--rows", "1"], ["psycopg"]),
    ],
    ids=" ".join,
)
def test_a_quick_look_imports_only_what_it_needs(arguments: list[str], heavy: list[str], tmp_path: Path) -> None:
    """Neither the client nor anything for files: status is typed again and again while a run goes on."""
    Ledger(f"sqlite:///{tmp_path}/r.db").close()
    script = (
        "import sys\nsys.argv = ['reelbatch', *sys.argv[1:]]\nfrom reelbatch.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path), "REELBATCH_RESULTS": "sqlite:///r.db"}
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.splitlines()[-1].split())
    assert imported & ({*heavy} | {"prefect", "pyarrow", "pandas", "httpx", "aiohttp", "yaml", "PIL"}) == set()


def test_status_says_the_same_at_a_glance(tmp_path: Path) -> None:
    """With options in its URL the same table is opened properly; no one can tell by what is printed."""
    with Ledger(f"sqlite:///{tmp_path}/r.db") as ledger:
        ledger.change(lambda connection: runs.open_batch(connection, Batch("b"), Payer("local"), "."))
    for more in ((), ("--json",), ("--batch", "b"), ("--batch", "c")):
        quick, proper = (
            run_here(tmp_path, "status", "--results", url, *more, TMPDIR=str(tmp_path))
            for url in ("sqlite:///r.db", "sqlite:///r.db?timeout=9")
        )
        assert quick == proper


def test_plan_of_the_sample_catalogue(tmp_path: Path) -> None:
    """Rows, credits by model and in all; nothing is written anywhere."""
    run = run_here(tmp_path, "plan", DATA / "catalogue.csv", "--json")
    plan = json.loads(run.out)
    assert run.code == 0
    assert (plan["rows"], plan["send"], plan["credits_estimated"], plan["unknown_rate"]) == (12, 12, 1812, 0)
    assert sum(model["credits"] for model in plan["by_model"]) == 1812
    assert list(tmp_path.iterdir()) == []


def test_plan_shows_dollars_only_where_they_are_stated(tmp_path: Path) -> None:
    """For a credit, or for a subscription; a tier says nothing of what a credit costs."""
    by_tier = run_here(tmp_path, "plan", DATA / "catalogue.csv", REELBATCH_TIER="creator")
    assert ("1,812 credits" in by_tier.out, "$" in by_tier.out) == (True, False)
    paid = '{"price": 19, "credits": 12000}'
    assert "(about $2.87)" in run_here(tmp_path, "plan", DATA / "catalogue.csv", REELBATCH_SUBSCRIPTION=paid).out
    by_rate = run_here(tmp_path, "plan", DATA / "catalogue.csv", REELBATCH_DOLLARS_PER_CREDIT="0.01")
    assert "(about $18.12)" in by_rate.out


def test_csv_and_parquet_of_the_sample_are_the_same_rows(tmp_path: Path) -> None:
    """One catalogue in two files, down to what it costs."""
    plans = [
        json.loads(run_here(tmp_path, "plan", DATA / f"catalogue.{kind}", "--json").out)
        for kind in ("csv", "parquet")
    ]
    assert plans[0]["by_model"] == plans[1]["by_model"]


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    """With row, column, value and remedy; and a key that stands twice refuses the whole file."""
    run = run_here(tmp_path, "plan", DATA / "catalogue-with-mistakes.csv")
    assert run.code == 2
    assert '"TEA-001" is in rows 1, 9' in run.err
    for row, column in ((2, "image_path"), (3, "end_seconds"), (4, "resolution"), (5, "prompt"), (6, "image_path")):
        assert f'row {row}, column "{column}"' in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "nowhere.csv"], "nowhere.csv"),
        (["plan", "."], "is a directory"),
        (["plan", "m.csv", "--results", "nonsense"], "no database URL"),
        (["plan", "m.csv", "--results", "mysql://x/y"], "or Postgres"),
        (["plan", "m.csv", "--config", "nowhere.yaml"], "no such config file"),
        (["plan", "m.csv", "--batch", "a/b"], "batch"),
        (["status"], "no results table yet"),
        (["export", "out.csv"], "no results table yet"),
        (["rerun"], "no results table yet"),
        (["generate", "m.csv", "--base-url", "http://example.com"], "base_url"),
        (["generate", "m.csv", "--concurrency", "0"], "concurrency"),
        (["generate", "m.csv", "--regenerate", "some"], "none, changed or all"),
        (["plan"], "MANIFEST"),
        (["frobnicate"], "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_t_be_used_is_said_with_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, in_process: Callable[..., tuple[int, str]]
) -> None:
    """Clear words and no traceback for what the user did."""
    (tmp_path / "m.csv").write_text("image_path,prompt,end_seconds\nhttps://x.example/a.png,hello,5\n")
    code, said = in_process(*arguments)
    assert code == 2, said
    assert says in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "command", [["generate", "m.csv"], ["rerun"], ["settle"], ["reconcile"]], ids=lambda words: words[0]
)
def test_a_password_in_the_apis_address_is_refused_and_not_repeated(
    command: list[str], tmp_path: Path, in_process: Callable[..., tuple[int, str]]
) -> None:
    """Exit code 2 before anything is begun, and what was typed stays where it was typed."""
    (tmp_path / "m.csv").write_text("image_path,prompt,end_seconds\nhttps://x.example/a.png,hello,5\n")
    code, said = in_process(*command, "--base-url", "https://me:marked-4711@api.example.com")
    assert (code, "base_url: holds a user, a password" in said) == (2, True), said
    assert "marked-4711" not in said
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["plan", str(DATA / "catalogue.csv"), "--json"]])
def test_a_full_disk_under_the_output_is_said_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    """`reelbatch … > report` where there is no room: exit code 1 and no traceback."""
    command = [sys.executable, "-m", "reelbatch", *arguments]
    with Path("/dev/full").open("w") as full:
        done = forked.run(command, cwd=tmp_path, stdout=full, stderr=forked.PIPE, text=True)
    assert done.returncode == 1
    assert "Error: The output can't be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """`reelbatch plan … | head -1` ends quietly."""
    command = f'{sys.executable} -m reelbatch plan "{DATA / "catalogue.csv"}" | head -c 1'
    run = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stderr == ""
