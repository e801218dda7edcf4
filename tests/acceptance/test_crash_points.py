"""What `make proof` kills is what users run: a wheel's commands pass the crash points of the flows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from workplace import Workplace, working

from reelbatch.sandbox import RunningSandbox, start

ROWS = "row_key,image_path,prompt,end_seconds,model,resolution\n" + "".join(
    f"{key},https://images.example.com/{key}.png,Slow pan,2,ltx-2.3,480p\n" for key in ("good", "refused", "dud")
)
FAULTS = [{"text": "refused", "kind": "invalid"}, {"text": "dud", "kind": "render_error"}]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """An API that is done at once."""
    with start(queue_seconds=0, render_seconds=0, render_video=False) as sandbox:
        yield sandbox


COMMANDS = """
import json, sys
from reelbatch import failpoints
from reelbatch.cli import main
from reelbatch.cli.runner import clone_root
assert (clone_root() is not None) == (sys.argv[1] == "clone")
for record, *arguments in json.loads(sys.argv[2]):
    failpoints.arm(f"record@{record}")
    sys.argv = ["reelbatch", *arguments]
    try:
        main()
    except SystemExit as end:
        assert end.code in {0, 1}, end.code  # a row is refused, and one fails to render
"""


def passed(place: Workplace, program: str) -> dict[str, list[str]]:
    """The points that each command passes, each once. One process runs them all: Prefect takes long to start."""
    folder = place.folder / program
    folder.mkdir()
    assert place.sandbox
    where = ["--results", f"sqlite:///{folder / 'r.db'}", "--base-url", place.sandbox.url]
    videos = ["--download", str(folder / "videos")]
    commands = {
        "generate": [str(place.manifest), "--settle", "--json"],
        "rerun": ["--settle", "--json"],
        "settle": [],
    }
    typed = [[str(folder / command), command, *options, *where, *videos] for command, options in commands.items()]
    spawn = place.from_clone if program == "clone" else place.from_wheel
    done = spawn(["-c", COMMANDS, program, json.dumps(typed)], {}).finish()
    assert done.code == 0, done.err
    return {command: sorted(set((folder / command).read_text().split())) for command in commands}


@pytest.mark.long
def test_flows_and_a_wheels_commands_pass_the_same_points(
    tmp_path: Path, sandbox: RunningSandbox, prefect_env: dict[str, str]
) -> None:
    """`generate`, `rerun` and `settle`: a step that only the flow has would be proven by nothing."""
    with working(tmp_path, sandbox, {**prefect_env, "REELBATCH_CONCURRENCY": "1"}) as place:
        place.manifest.write_text(ROWS)
        sandbox.set_faults(match=FAULTS)
        flows = passed(place, "clone")
        assert flows == passed(place, "wheel")
        assert all(flows.values())
