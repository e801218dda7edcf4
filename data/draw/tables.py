"""The catalogue's rows and the files that hold them."""

import csv
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Row = tuple[str, str, str, str, float, str, str, str]
COLUMNS = ("row_key", "image_path", "title", "prompt", "end_seconds", "resolution", "model", "name")
ROWS: tuple[Row, ...] = (
    (
        "TEA-001",
        "images/teapot.jpg",
        "Lagoon teapot, 1.1 l",
        (
            "Slow quarter orbit around the teal teapot, a thin curl of steam rising from the spout, soft morning "
            "light sliding over the glaze, calm and warm"
        ),
        5,
        "720p",
        "ltx-2.3",
        "Lagoon teapot",
    ),
    (
        "MUG-002",
        "images/stoneware-mugs.jpg",
        "Dune stoneware mugs, set of two",
        (
            "Gentle push-in on the cream mug, steam drifting off the coffee, shallow focus that leaves the blue "
            "mug soft behind it, cosy kitchen light"
        ),
        4,
        "720p",
        "wan-2.2",
        "Dune mugs",
    ),
    (
        "LMP-003",
        "images/brass table lamp.jpg",
        "Halden brass table lamp",
        (
            "Locked-off shot: the lamp warms up from a dim ember to a full golden glow, light spreading down the "
            "brass stem and over the wood, quiet evening mood"
        ),
        5,
        "720p",
        "kling-3.0",
        "Halden lamp",
    ),
    (
        "CND-004",
        "images/candle.png",
        "Slow Evenings candle, fig and cedar",
        (
            "Close, still camera; the flame flickers and sways, warm reflections tremble in the amber glass, dark"
            " and intimate"
        ),
        5,
        "480p",
        "ltx-2.3",
        "Slow Evenings candle",
    ),
    (
        "BWL-005",
        "images/nesting-bowls.jpg",
        "Heath nesting bowls, set of five",
        (
            "Camera slides slowly from left to right past the stack of bowls, daylight grazing each glazed rim in"
            " turn, airy and natural"
        ),
        4,
        "480p",
        "wan-2.2",
        "Heath bowls",
    ),
    (
        "MIL-006",
        "images/salt-and-pepper-mills.jpg",
        "Walnut and beech mills",
        (
            "Slow tilt up from the scattered peppercorns to the steel knobs, crisp side light bringing out the "
            "wood grain, clean and confident"
        ),
        3,
        "720p",
        "ltx-2.3",
        "Walnut and beech mills",
    ),
    (
        "OIL-007",
        "images/olive-oil.webp",
        "Early harvest olive oil, 500 ml",
        (
            "Sunlight moves behind the bottle and sets the oil aglow, small golden reflections wander across the "
            "table, very slow push-in"
        ),
        5,
        "720p",
        "kling-2.6",
        "Early harvest oil",
    ),
    (
        "CLK-008",
        "images/alarm-clock.png",
        "Polly twin-bell alarm clock",
        (
            "The second hand sweeps, then the hammer rings both bells and the clock shivers on the table; "
            "playful, bright morning light, camera holds still"
        ),
        3,
        "480p",
        "wan-2.2",
        "Polly alarm clock",
    ),
    (
        "PLT-009",
        "images/planter.jpg",
        "Ribbed planter with echeveria",
        (
            "Slow overhead drift towards the rosette, leaves catching soft window light, a faint breeze, "
            "terracotta tones, serene"
        ),
        4,
        "480p",
        "ltx-2.3",
        "Ribbed planter",
    ),
    (
        "SLD-010",
        "images/salad-bowl.jpg",
        "Acacia salad bowl",
        (
            "Half orbit around the bowl of oranges and lemons, a drop of juice rolls off the cut orange, fresh "
            "summer light, lively colours"
        ),
        5,
        "480p",
        "wan-2.2",
        "Acacia salad bowl",
    ),
    (
        "GLB-011",
        "images/desk-globe.webp",
        "Meridian desk globe",
        (
            "The globe turns slowly on its brass axis while late afternoon light travels over the oceans; steady "
            "camera, nostalgic study"
        ),
        5,
        "480p",
        "ltx-2.3",
        "Meridian globe",
    ),
    (
        "CHA-012",
        "images/抹茶茶碗.jpg",
        "抹茶茶碗と茶筅",
        "抹茶茶碗にゆっくりと寄るカメラ。淡い湯気が立ちのぼり、障子越しのやわらかな光が釉薬の肌を照らす。静かで落ち着いた雰囲気",
        4,
        "720p",
        "kling-3.0",
        "抹茶茶碗",
    ),
)
MISTAKES: tuple[tuple[object, ...], ...] = (
    ROWS[0],
    ("MUG-002", "images/stoneware-mug.jpg", *ROWS[1][2:]),
    (*ROWS[2][:4], 99, *ROWS[2][5:]),
    (*ROWS[3][:5], "900p", *ROWS[3][6:]),
    (*ROWS[4][:3], "", *ROWS[4][4:]),
    ("MIL-006", "images/not-an-image.png", *ROWS[5][2:]),
    (*ROWS[6][:6], "kling-9.9", ROWS[6][7]),
    (*ROWS[7][:4], "five", *ROWS[7][5:]),
    ("TEA-001", *ROWS[8][1:]),
)
NOT_AN_IMAGE = "This is a text file that someone renamed to .png.\n"


def _write_csv(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def write(folder: Path) -> None:
    """The catalogue as CSV and Parquet, the one with mistakes, and the text file that poses as an image."""
    _write_csv(folder / "catalogue.csv", ROWS)
    _write_csv(folder / "catalogue-with-mistakes.csv", MISTAKES)
    types = {"end_seconds": pa.float64()}
    columns = {
        name: pa.array(values, types.get(name, pa.string()))
        for name, values in zip(COLUMNS, zip(*ROWS, strict=True), strict=True)
    }
    pq.write_table(pa.table(columns), folder / "catalogue.parquet")
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "not-an-image.png").write_text(NOT_AN_IMAGE, encoding="utf-8")
