"""What `make proof` kills is what users run: a wheel's commands pass the crash points of the flows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from proof.wheel import as_from_a_wheel
from workplace import Workplace, working

from reelbatch import failpoints
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


def passed(place: Workplace, command: str, *options: str, clone: bool) -> list[str]:
    """The points that a command passes, each once."""
    record = place.folder / f"points-{command}-{clone}"
    folder = place.folder / str(clone)
    where = ("--results", f"sqlite:///{folder / 'r.db'}", "--base-url", place.sandbox.url)
    videos = ("--download", str(folder / "videos"))
    path = {} if clone else {"PYTHONPATH": str(place.folder / "wheel")}
    done = place._spawn(
        [sys.executable, "-m", "reelbatch", command, *options, *where, *videos],
        {failpoints.VARIABLE: f"record@{record}", **path},
    ).finish()
    assert done.code in {0, 1}, done.err  # a row is refused, and one fails to render
    return sorted(set(record.read_text().split()))


@pytest.mark.slow
def test_flows_and_a_wheels_commands_pass_the_same_points(
    tmp_path: Path, sandbox: RunningSandbox, prefect_env: dict[str, str]
) -> None:
    """`generate`, `rerun` and `settle`: a step that only the flow has would be proven by nothing."""
    with working(tmp_path, sandbox, {**prefect_env, "REELBATCH_CONCURRENCY": "1"}) as place:
        as_from_a_wheel(place.folder / "wheel")
        place.manifest.write_text(ROWS)
        sandbox.set_faults(match=FAULTS)
        for command, options in {
            "generate": (str(place.manifest), "--settle", "--json"),
            "rerun": ("--settle", "--json"),
            "settle": (),
        }.items():
            flow, wheel = (passed(place, command, *options, clone=clone) for clone in (True, False))
            assert flow == wheel
