"""What `make proof` kills is what users run: its stand-ins without Prefect pass the crash points of the flows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workplace import Workplace, working

from reelbatch import failpoints
from reelbatch.sandbox import RunningSandbox, start

STAND_INS = Path(__file__).parents[1] / "proof" / "without_prefect"
WITHOUT_PREFECT = f"import sys; sys.path.insert(0, {str(STAND_INS)!r}); from reelbatch.cli import main; main()"
ROWS = "row_key,image_path,prompt,end_seconds,model,resolution\n" + "".join(
    f"{key},https://images.example.com/{key}.png,Slow pan,2,ltx-2.3,480p\n" for key in ("good", "refused", "dud")
)
FAULTS = [{"text": "refused", "kind": "invalid"}, {"text": "dud", "kind": "render_error"}]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    """An API that is done at once."""
    with start(queue_seconds=0, render_seconds=0, render_video=False) as sandbox:
        yield sandbox


def passed(place: Workplace, command: str, *options: str, prefect: bool) -> list[str]:
    """The points that a command passes, each once."""
    record = place.folder / f"points-{command}-{prefect}"
    before = [sys.executable, "-m", "reelbatch"] if prefect else [sys.executable, "-c", WITHOUT_PREFECT]
    folder = place.folder / str(prefect)
    where = ("--results", f"sqlite:///{folder / 'r.db'}", "--base-url", place.sandbox.url)
    videos = ("--download", str(folder / "videos"))
    done = place._spawn(
        [*before, command, *options, *where, *videos], {failpoints.VARIABLE: f"record@{record}"}
    ).finish()
    assert done.code in {0, 1}, done.err  # a row is refused, and one fails to render
    return sorted(set(record.read_text().split()))


@pytest.mark.slow
def test_flows_and_their_stand_ins_pass_the_same_points(
    tmp_path: Path, sandbox: RunningSandbox, prefect_env: dict[str, str]
) -> None:
    """`generate`, `rerun` and `settle`: a step that only the flow has would be proven by nothing."""
    with working(tmp_path, sandbox, {**prefect_env, "REELBATCH_CONCURRENCY": "1"}) as place:
        place.manifest.write_text(ROWS)
        sandbox.set_faults(match=FAULTS)
        for command, options in {
            "generate": (str(place.manifest), "--settle", "--json"),
            "rerun": ("--settle", "--json"),
            "settle": (),
        }.items():
            flow, stand_in = (passed(place, command, *options, prefect=prefect) for prefect in (True, False))
            assert flow == stand_in
