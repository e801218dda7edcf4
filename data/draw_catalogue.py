"""Draws the images of the sample catalogue and writes its tables: `python data/draw_catalogue.py [name ...]`."""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from draw import desk, home, kitchen, tables, tableware
from draw.film import develop, expose, save

HERE = Path(__file__).parent
SAMPLES = 8  # a power of two
SCENES = tableware.SCENES | kitchen.SCENES | home.SCENES | desk.SCENES
FILES = {
    "teapot": "teapot.jpg",
    "mugs": "stoneware-mugs.jpg",
    "lamp": "brass table lamp.jpg",
    "candle": "candle.png",
    "bowls": "nesting-bowls.jpg",
    "mills": "salt-and-pepper-mills.jpg",
    "oil": "olive-oil.webp",
    "clock": "alarm-clock.png",
    "planter": "planter.jpg",
    "salad": "salad-bowl.jpg",
    "globe": "desk-globe.webp",
    "matcha": "抹茶茶碗.jpg",
}


def draw(name: str) -> str:
    """Renders one scene into its file; gives a line that says how long it took."""
    began = time.perf_counter()
    scene = SCENES[name]()
    path = HERE / "images" / FILES[name]
    save(develop(scene, expose(scene, SAMPLES)), path)
    return f"{path.name}: {path.stat().st_size // 1024} kB, {time.perf_counter() - began:.0f} s"


def main() -> None:
    """All scenes, or those named on the command line; the tables always."""
    tables.write(HERE)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(draw, sys.argv[1:] or FILES):
            print(line, flush=True)


if __name__ == "__main__":
    main()
