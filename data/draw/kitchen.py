"""Scenes of the kitchen."""

import numpy as np
from draw import paints
from draw.fields import Array, Field, Point, displaced, ellipsoid, placed, sphere, turned, union
from draw.paints import halo, marble, mix, plain, planks, step, wood
from draw.sets import KEY, LANDSCAPE, PORTRAIT, RIM, STEEL, satin
from draw.studio import Camera, Light, Material, Part, Scene


def mill(height: float) -> tuple[Field, Field, Field]:
    """Body, head and knob of a turned pepper mill."""
    h = height
    body = turned(
        [
            (0, 0),
            (0.33, 0),
            (0.36, 0.03, 0),
            (0.36, 0.1),
            (0.31, 0.16),
            (0.3, 0.3),
            (0.22, 0.42 * h),
            (0.18, 0.55 * h),
            (0.23, 0.66 * h),
            (0.29, 0.71 * h, 0),
            (0.27, 0.73 * h, 0),
            (0, 0.73 * h),
        ]
    )
    head = turned(
        [
            (0, 0.735 * h),
            (0.27, 0.735 * h, 0),
            (0.29, 0.75 * h),
            (0.3, 0.82 * h),
            (0.24, 0.91 * h),
            (0.12, 0.95 * h),
            (0, 0.955 * h),
        ]
    )
    knob = turned(
        [(0, 0.94 * h), (0.05, 0.95 * h), (0.05, 0.965 * h), (0.085, 0.98 * h), (0.07, 1.01 * h), (0, 1.02 * h)]
    )
    return body, head, knob


def mills() -> Scene:
    """A walnut mill and a beech mill with salt and pepper spilt in front."""
    parts = []
    for height, (x, z), tones in (
        (2.5, (-0.36, -0.25), ("7a4c2e", "3a2114")),
        (1.95, (0.42, 0.2), ("d9b384", "b07d4c")),
    ):
        body, head, knob = mill(height)
        at, timber = (x, 0, z), satin(wood(*tones, along=1, scale=1.4))
        parts += [Part(placed(union(body, head), at), timber), Part(placed(knob, at), STEEL)]
    random = np.random.default_rng(4)
    corns = [sphere((-0.55 + 0.3 * u, 0.038, 0.5 + 0.28 * v), 0.038) for u, v in random.normal(0, 0.6, (11, 2))]
    parts.append(Part(union(*corns), Material(lambda p: plain("2a201b")(p) * (0.6 + 0.9 * paints.noise(p * 45)))))
    return Scene(
        parts=tuple(parts),
        low=(-1.2, 0, -0.75),
        high=(0.95, 2.6, 1.1),
        floor=Material(marble("e4e0d8", "8f8a84"), shine=0.04, rough=0.25),
        wall=Material(halo((-0.3, 1.8, -3), "a9b79a", "7f8f78", 4.5)),
        lights=(KEY, RIM),
        camera=Camera((0.4, 2.5, 7.2), (-0.02, 1.12, 0), 25, 0.05),
        depth=2.6,
        bend=0.03,
        size=PORTRAIT,
    )


def oil() -> Scene:
    """A glass bottle of olive oil with a cork, and olives."""
    glass = turned(
        [
            (0, 0.02),
            (0.4, 0.02),
            (0.47, 0.05),
            (0.5, 0.14),
            (0.5, 1.1),
            (0.47, 1.3),
            (0.28, 1.6),
            (0.17, 1.78),
            (0.15, 1.95),
            (0.15, 2.2),
            (0.2, 2.23),
            (0.2, 2.32),
            (0.14, 2.34, 0),
            (0, 2.34),
        ]
    )
    cork = turned(
        [(0, 2.33), (0.12, 2.33, 0), (0.14, 2.5, 0), (0.2, 2.5, 0), (0.22, 2.56), (0.2, 2.7), (0.12, 2.74), (0, 2.74)]
    )
    shade = wood("cfa878", "9a7048", along=1, scale=2)
    olives = union(
        *(ellipsoid(at, (0.16, 0.12, 0.12)) for at in ((0.66, 0.12, 0.5), (0.9, 0.12, 0.3), (0.85, 0.12, 0.68)))
    )

    def skin(p: Array) -> Array:
        return mix(plain("6c7a2c")(p), plain("97a048")(p), step(0.3, 0.7, paints.cloud(p * 7)))

    backlight = Light((3.6, 3.6, -1.6), (0.8, 1.6), power=0.75, colour=(1, 0.95, 0.85))
    return Scene(
        parts=(
            Part(glass, Material(plain("e6cf5a"), shine=0.04, glass="solid")),
            Part(cork, satin(shade)),
            Part(olives, Material(skin, shine=0.04, rough=0.25)),
        ),
        low=(-0.55, 0, -0.55),
        high=(1.1, 2.8, 0.85),
        floor=Material(planks("d8c3a0", "a9885c", 1.4), shine=0.03, rough=0.4),
        wall=Material(halo((0, 1.5, -2.6), "fff3d8", "dfc79a", 3.6)),
        lights=(KEY, backlight),
        camera=Camera((0.3, 1.9, 7.4), (0.18, 1.3, 0), 25, 0.05),
        depth=2.6,
        bend=0.03,
        size=PORTRAIT,
    )


def peel(code: str) -> Material:
    """Citrus skin; its pores are in the body."""
    return Material(lambda p: plain(code)(p) * (0.9 + 0.2 * paints.cloud(p * 3)), shine=0.04, rough=0.35)


def orange(at: Point, radius: float = 0.36) -> Field:
    """An orange with pores."""
    return displaced(sphere(at, radius), lambda p: 0.007 * paints.noise(p * 34), 0.85)


def lemon(at: Point, turn: Point) -> Field:
    """A lemon with its two tips."""
    shape = turned(
        [
            (0, -0.44),
            (0.06, -0.42),
            (0.12, -0.36),
            (0.27, -0.18),
            (0.3, 0),
            (0.27, 0.18),
            (0.12, 0.36),
            (0.06, 0.43),
            (0, 0.45),
        ]
    )
    return placed(displaced(shape, lambda p: 0.007 * paints.noise(p * 30), 0.85), at, turn)


def halved(at: Point, radius: float, turn: Point) -> tuple[Field, Material]:
    """Half an orange, its cut face up before the turn, and the material of flesh, pith and peel."""
    ball = sphere((0, 0, 0), radius)
    half = placed(lambda p: np.maximum(ball(p), p[1]), at, turn)
    find = placed(lambda p: p, at, turn)  # a "field" that gives the point in the fruit's own space

    def paint(p: Array) -> Array:
        q = find(p)
        r = np.sqrt(q[0] ** 2 + q[2] ** 2) / radius
        angle = np.arctan2(q[2], q[0]) * 10 / (2 * np.pi)
        gap = np.abs(angle - np.floor(angle) - 0.5) * r
        pith = np.maximum(
            np.maximum(step(0.84, 0.88, r), 1 - step(0.08, 0.12, r)), step(0.46, 0.475, gap / np.maximum(r, 1e-3))
        )
        flesh = plain("f08a1e")(p) * (0.85 + 0.3 * paints.noise(np.stack([angle * 9, r * 4, 0 * r])))
        face = mix(mix(flesh, plain("f7dba0")(p), pith), plain("ee7a12")(p), step(0.95, 0.97, r))
        return mix(plain("ee7a12")(p), face, step(-0.02, -0.008, q[1]))

    return half, Material(paint, shine=0.04, rough=0.3)


def salad() -> Scene:
    """A turned wooden bowl of oranges and lemons, half an orange in front."""
    shape = turned(
        [
            (0, 0.04),
            (0.5, 0.04),
            (0.52, 0, 0),
            (0.62, 0, 0),
            (0.9, 0.2),
            (1.2, 0.6),
            (1.22, 0.72),
            (1.17, 0.72),
            (0.98, 0.42),
            (0.6, 0.16),
            (0, 0.12),
        ]
    )
    oranges = union(
        orange((-0.48, 0.62, 0.1)),
        orange((0.12, 0.6, -0.5)),
        orange((0.55, 0.62, 0.2)),
        orange((-0.05, 1.02, -0.1), 0.34),
    )
    lemons = union(
        lemon((0.05, 0.66, 0.55), (0, 0, 70)),
        lemon((-0.62, 0.78, -0.48), (20, 0, 50)),
        lemon((0.66, 0.9, -0.38), (0, 30, 115)),
    )
    cut, juicy = halved((1.5, 0.3, 0.75), 0.36, (58, 0, -12))
    return Scene(
        parts=(
            Part(shape, satin(wood("a86f3f", "5f3719", along=0, scale=1.1))),
            Part(oranges, peel("ee7a12")),
            Part(lemons, peel("f2c81e")),
            Part(cut, juicy),
        ),
        low=(-1.25, 0, -1.25),
        high=(1.95, 1.42, 1.25),
        floor=Material(paints.linen("d5dad8", 22)),
        wall=Material(halo((0, 1.2, -3), "9fb8bf", "6f8d99", 5)),
        lights=(KEY, RIM),
        camera=Camera((0.5, 3.2, 6.6), (0.25, 0.5, 0), 21, 0.05),
        depth=3,
        bend=0.8,
        size=LANDSCAPE,
    )


SCENES = {"mills": mills, "oil": oil, "salad": salad}
