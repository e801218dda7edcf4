"""Scenes of the desk: a succulent and a globe."""

import numpy as np
from draw import paints
from draw.fields import Array, Field, displaced, ellipsoid, placed, torus, turned, union
from draw.paints import halo, mix, plain, planks, step, wood
from draw.sets import BRASS, KEY, RIM, SQUARE, satin
from draw.studio import Camera, Material, Part, Scene
from PIL import Image, ImageDraw

GOLDEN_ANGLE = 137.508
LANDS = (  # coarse coastlines, (longitude, latitude)
    (
        "-168 66,-156 71,-128 70,-95 69,-82 73,-78 62,-92 58,-80 52,-78 62,-65 59,-56 52,-66 45,-76 "
        "36,-81 26,-84 30,-97 27,-97 19,-88 21,-87 15,-83 9,-79 8,-95 16,-105 21,-113 31,-123 38,-125 "
        "48,-135 58,-152 59,-164 55"
    ),
    "-79 9,-72 12,-60 8,-50 0,-35 -6,-39 -17,-48 -27,-58 -38,-65 -43,-68 -54,-74 -50,-71 -30,-71 -18,-81 -5",
    (
        "-10 36,-9 43,-1 44,-5 48,2 51,8 54,10 59,5 60,14 68,28 71,42 66,60 69,75 73,105 77,140 73,170 "
        "70,180 68,178 62,163 58,157 51,155 60,140 54,141 47,129 42,127 35,122 39,119 35,121 28,110 "
        "20,106 10,100 13,103 1,98 9,94 17,88 22,80 14,77 8,72 20,66 25,57 26,50 29,56 25,59 21,45 13,39 "
        "21,34 29,36 36,27 37,22 37,15 41,12 44,18 40,15 38,8 44,0 39,-5 36"
    ),
    "-6 36,10 37,20 31,33 31,38 18,43 11,51 11,41 -2,40 -15,35 -22,32 -28,20 -35,13 -20,9 -1,8 4,-8 5,-17 14,-13 27",
    "114 -22,122 -18,130 -12,136 -12,141 -17,143 -11,153 -26,150 -37,140 -38,131 -32,116 -35",
    "-54 82,-20 81,-22 70,-42 60,-52 66,-58 75",
    "-5 50,1 52,-3 58,-6 56",
    "131 33,140 36,141 41,144 44,141 45,137 37",
    "44 -16,50 -15,47 -25,44 -22",
    "167 -46,174 -40,178 -38,173 -44",
    "95 5,105 -5,115 -8,104 -2",
    "109 1,117 6,116 -4,110 -3",
    "131 -1,147 -6,150 -10,138 -8",
    "-180 -72,-60 -74,0 -70,90 -66,180 -72,180 -90,-180 -90",
)


def atlas() -> Array:
    """A coarse map of the world as linear RGB, shape (720, 1440, 3)."""
    image = Image.new("RGB", (1440, 720), "#5f8f99")
    draw = ImageDraw.Draw(image)
    for k in range(24):
        draw.line([(k * 60, 0), (k * 60, 720)], "#8fb1b3", 1)
    for k in range(1, 12):
        draw.line([(0, k * 60), (1440, k * 60)], "#8fb1b3", 2 if k == 6 else 1)
    for k, land in enumerate(LANDS):
        points = [tuple(float(n) for n in pair.split()) for pair in land.split(",")]
        shore = [((x + 180) * 4, (90 - y) * 4) for x, y in points]
        draw.polygon(
            shore, ("#d9c48e", "#c9a566", "#cfb67a", "#dcb878", "#c98f5c", "#efe8d6")[min(k, 5)], "#6b5836", 3
        )
    return (np.asarray(image, np.float32) / 255) ** 2.2


def globe() -> Scene:
    """A desk globe in a brass meridian on a walnut foot."""
    chart, centre, tilt = atlas(), (0.0, 1.42, 0.0), (0, -100, -23)
    find = placed(lambda p: p, centre, tilt)

    def earth(p: Array) -> Array:
        q = find(p)
        u = ((np.arctan2(-q[2], q[0]) / (2 * np.pi) + 0.5) * 1440 + 0.5).astype(int) % 1440
        v = np.clip((0.5 - np.arcsin(np.clip(q[1] / 0.82, -1, 1)) / np.pi) * 720, 0, 719).astype(int)
        return chart[v, u].T * (0.93 + 0.14 * paints.cloud(q * 6))

    def ball(p: Array) -> Array:
        return np.sqrt(p[0] ** 2 + (p[1] - np.float32(1.42)) ** 2 + p[2] ** 2) - np.float32(0.82)

    hoop = torus((0, 0, 0), 0.92, 0.035, axis=2)
    meridian = placed(lambda p: np.maximum(hoop(p), -p[0] - 0.02), centre, (0, 0, -23))
    pins = placed(
        turned([(0, -1.02), (0.05, -1.0), (0.035, -0.8), (0.035, 0.8), (0.05, 1.0), (0, 1.02)]), centre, (0, 0, -23)
    )
    stem = turned(
        [(0, 0.1), (0.16, 0.12), (0.07, 0.22), (0.06, 0.36), (0.1, 0.42), (0.06, 0.47), (0.04, 0.53), (0, 0.53)]
    )
    foot = turned([(0, 0), (0.58, 0), (0.6, 0.03), (0.58, 0.09), (0.42, 0.13, 0), (0.38, 0.15), (0, 0.16)])
    return Scene(
        parts=(
            Part(ball, Material(earth, shine=0.04, rough=0.2)),
            Part(union(meridian, pins, stem), BRASS),
            Part(foot, satin(wood("7a4c2e", "3a2114", along=0))),
        ),
        low=(-1.05, 0, -1.0),
        high=(1.05, 2.5, 1.0),
        floor=Material(planks("6f4a30", "3b2416", 1.3), shine=0.04, rough=0.35),
        wall=Material(halo((0.4, 1.6, -2.6), "d3c3a4", "a8966f", 4)),
        lights=(KEY, RIM),
        camera=Camera((0.5, 2.1, 7.0), (0, 1.2, 0), 24, 0.05),
        depth=2.6,
        bend=0.03,
        exposure=1.3,
        size=SQUARE,
    )


def rosette() -> Field:
    """The leaves of an echeveria, set in a spiral from the heart outwards."""
    leaves = []
    for k in range(34):
        share = (k + 1) / 34
        long, wide, lean = 0.1 + 0.26 * share**0.8, 0.055 + 0.09 * share, 12 + 62 * share
        leaf = ellipsoid((0, long, 0), (wide, long, 0.035 + 0.025 * share))
        spin = k * GOLDEN_ANGLE
        at = (0.16 * share * np.sin(np.radians(spin)), 0.16 - 0.16 * share, 0.16 * share * np.cos(np.radians(spin)))
        leaves.append(placed(placed(leaf, (0, 0, 0), (lean, spin, 0)), at))
    return union(*leaves)


def planter() -> Scene:
    """A succulent in a ribbed clay pot on a saucer."""
    wall = turned(
        [
            (0, 0.06),
            (0.48, 0.06, 0),
            (0.66, 0.9, 0),
            (0.7, 0.92),
            (0.7, 1.04),
            (0.66, 1.06),
            (0.6, 1.04),
            (0.58, 0.9, 0),
            (0, 0.9),
        ]
    )

    def ribs(p: Array) -> Array:
        return 0.018 * np.abs(np.sin(np.arctan2(p[2], p[0]) * 16)) * (1 - step(0.8, 0.88, p[1]))

    saucer = turned([(0, 0), (0.6, 0), (0.74, 0.08), (0.76, 0.12), (0.72, 0.12), (0.58, 0.06), (0, 0.06)])
    soil = displaced(
        turned([(0, 0.85), (0.59, 0.85, 0), (0.59, 0.95, 0), (0, 0.98)]), lambda p: 0.05 * paints.noise(p * 16), 0.6
    )
    plant = placed(rosette(), (0, 1.0, 0))

    def leaf(p: Array) -> Array:
        r = np.sqrt(p[0] ** 2 + p[2] ** 2)
        green = mix(plain("a9c79a")(p), plain("5f9379")(p), step(0.05, 0.6, r))
        return mix(green, plain("c9788a")(p), step(0.55, 0.85, r) * 0.8) * (0.92 + 0.16 * paints.noise(p * 20))

    def clay(p: Array) -> Array:
        return plain("e6ddd0")(p) * (0.92 + 0.14 * paints.cloud(p * 6))

    return Scene(
        parts=(
            Part(displaced(wall, ribs, 0.75), Material(clay)),
            Part(saucer, Material(clay)),
            Part(soil, Material(lambda p: plain("4a382c")(p) * (0.5 + paints.noise(p * 40)))),
            Part(plant, Material(leaf, shine=0.03, rough=0.45)),
        ),
        low=(-0.95, 0, -0.95),
        high=(0.95, 1.85, 0.95),
        floor=Material(plain("c98f74")),
        wall=Material(plain("c98f74")),
        lights=(KEY, RIM),
        camera=Camera((0.3, 3.0, 5.6), (0, 0.78, 0), 25, 0.04),
    )


SCENES = {"globe": globe, "planter": planter}
