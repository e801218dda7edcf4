"""Scenes of light and time: lamp, candle, alarm clock."""

import numpy as np
from draw.fields import Array, Field, column, placed, sphere, torus, tube, turned, union
from draw.paints import halo, linen, mix, plain, planks, step, wood
from draw.sets import BRASS, KEY, PORTRAIT, RIM, STEEL, glaze
from draw.studio import Camera, Light, Material, Part, Scene
from PIL import Image, ImageDraw, ImageFont


def lamp() -> Scene:
    """A brass table lamp with a lit linen shade."""
    stand = turned(
        [
            (0, 0),
            (0.52, 0),
            (0.55, 0.03),
            (0.53, 0.08),
            (0.3, 0.13),
            (0.1, 0.18),
            (0.06, 0.3),
            (0.055, 0.7),
            (0.13, 0.82),
            (0.17, 0.95),
            (0.13, 1.08),
            (0.055, 1.18),
            (0.045, 1.7),
            (0.045, 2.0),
            (0, 2.0),
        ]
    )
    finial = turned([(0, 2.56), (0.03, 2.58), (0.06, 2.65), (0.03, 2.71), (0, 2.72)])
    shade = turned([(0.86, 1.62, 0), (0.875, 1.62, 0), (0.565, 2.6, 0), (0.55, 2.6, 0)], ring=True, round_by=0.012)
    trim = union(torus((0, 1.62, 0), 0.87, 0.02), torus((0, 2.6, 0), 0.56, 0.02))
    cloth = linen("e8d5b4", 30, 0.3)

    def lit(p: Array) -> Array:
        warm = np.exp(-(((p[1] - 2.05) / 0.42) ** 2))
        return cloth(p) * column((1.0, 0.72, 0.42)) * (0.34 + 0.75 * warm)

    bulb = Light((0, 1.95, 0), (0.14, 0.14), power=2.2, colour=(1, 0.74, 0.45), aim=(0, 0, 0.01), seen=False)
    wash = Light((0, 2.7, -0.45), (0.3, 0.3), power=1.5, colour=(1, 0.74, 0.45), aim=(0, 2.9, -1.9), seen=False)
    window = Light((-4.2, 4.2, 3.4), (1.4, 1.4), power=0.42, colour=(0.85, 0.92, 1))
    return Scene(
        parts=(
            Part(union(stand, finial), BRASS),
            Part(shade, Material(cloth, glow=lit)),
            Part(trim, Material(plain("b98f5a"))),
        ),
        low=(-0.95, 0, -0.95),
        high=(0.95, 2.75, 0.95),
        floor=Material(planks("7d5433", "422817", 1.6), shine=0.04, rough=0.35),
        wall=Material(plain("8a9c98")),
        lights=(bulb, wash, window),
        camera=Camera((0.6, 2.0, 7.6), (0, 1.34, 0), 27, 0.05),
        dome=((0.06, 0.065, 0.075), (0.12, 0.13, 0.15)),
        depth=1.9,
        bend=0.02,
        size=PORTRAIT,
    )


def lettering(lines: list[tuple[str, int, float]], size: tuple[int, int], ink: str, paper: str) -> Array:
    """A printed label as linear RGB, shape (height, width, 3); lines are (text, type size, height from 0 to 1)."""
    image = Image.new("RGB", size, f"#{paper}")
    draw = ImageDraw.Draw(image)
    for text, points, at in lines:
        draw.text((size[0] / 2, size[1] * at), text, f"#{ink}", ImageFont.load_default(points), anchor="mm")
    draw.rectangle((14, 14, size[0] - 15, size[1] - 15), outline=f"#{ink}", width=3)
    return (np.asarray(image, np.float32) / 255) ** 2.2


def pasted(texture: Array, u: Array, v: Array) -> Array:
    """Colours (3, n) of a texture at u (left to right) and v (bottom to top), both 0 to 1."""
    rows, columns = texture.shape[:2]
    x = np.clip(u * columns, 0, columns - 1).astype(int)
    y = np.clip((1 - v) * rows, 0, rows - 1).astype(int)
    return texture[y, x].T.astype(np.float32)


def burning(p: Array) -> Array:
    """Glow of a flame: orange at the foot, pale above."""
    return mix(column((1.6, 0.55, 0.12)), column((2.6, 1.7, 0.75)), step(1.1, 1.25, p[1]))


def candle() -> Scene:
    """A burning candle in an amber jar with a paper label."""
    jar = turned([(0, 0), (0.58, 0), (0.64, 0.05), (0.66, 0.15), (0.66, 1.42), (0.64, 1.5), (0.6, 1.5), (0, 1.5)])
    hollow = turned([(0, 0.1), (0.58, 0.1, 0), (0.6, 0.2), (0.6, 1.7, 0), (0, 1.7)])
    wax = turned([(0, 0.1), (0.56, 0.1, 0), (0.595, 0.2), (0.595, 0.98, 0), (0.3, 0.95), (0, 0.94)])
    wick = tube([(0, 0.9), (0.0, 1.06), (0.015, 1.13)], [0.016, 0.014, 0.012])
    flame = turned([(0, 1.08), (0.045, 1.13), (0.06, 1.2), (0.035, 1.34), (0, 1.46)])
    sleeve = turned([(0.661, 0.35, 0), (0.682, 0.35, 0), (0.682, 0.95, 0), (0.661, 0.95, 0)], ring=True)
    print_on = lettering(
        [("SLOW EVENINGS", 46, 0.36), ("fig  &  cedar", 36, 0.56), ("220 g", 26, 0.75)],
        (480, 360),
        "3a2c22",
        "efe4d0",
    )

    def label(p: Array) -> Array:
        return np.maximum(sleeve(p), np.abs(np.arctan2(p[0], p[2]) - 0.1) * 0.66 - 0.42)

    def paper(p: Array) -> Array:
        return pasted(print_on, (np.arctan2(p[0], p[2]) - 0.1) * 0.66 / 0.84 + 0.5, (p[1] - 0.35) / 0.6)

    def warm(p: Array) -> Array:
        near = np.exp(-((p[0] ** 2 + p[2] ** 2) / 0.16) - np.maximum(0.96 - p[1], 0) / 0.3)
        return column((1.0, 0.55, 0.22)) * near * 0.8

    glass = Material(plain("f0b878"), shine=0.045, glass="thin")
    spark = Light((0, 1.42, 0), (0.06, 0.06), power=0.9, colour=(1, 0.6, 0.28), aim=(0, 0.9, 0.01), seen=False)
    pool = Light((0, 1.9, 0.2), (0.3, 0.3), power=0.35, colour=(1, 0.6, 0.28), aim=(0, 0, 0.5), seen=False)
    dusk = Light((-2.6, 2.6, 5.0), (0.9, 1.6), power=0.62, colour=(1, 0.86, 0.74))
    return Scene(
        parts=(
            Part(lambda p: np.maximum(jar(p), -hollow(p)), glass),
            Part(wax, Material(plain("efe0c2"), glow=warm)),
            Part(wick, Material(plain("1a1210"))),
            Part(flame, Material(plain("000000"), glow=burning)),
            Part(label, Material(paper)),
        ),
        low=(-0.7, 0, -0.7),
        high=(0.7, 1.55, 0.7),
        floor=Material(wood("6b4630", "37211a", along=0), shine=0.04, rough=0.3),
        wall=Material(halo((0, 1.2, -2.4), "b97a55", "553a3a", 3.4)),
        lights=(spark, pool, dusk, Light((4.2, 2.6, -0.4), (0.4, 1.6), power=0.25, colour=(1, 0.8, 0.65))),
        camera=Camera((0.5, 1.9, 5.6), (0, 0.78, 0), 27, 0.05),
        dome=((0.10, 0.085, 0.085), (0.16, 0.14, 0.14)),
        depth=2.4,
        bend=0.4,
        size=PORTRAIT,
    )


def dial() -> Array:
    """The face of a clock at ten past ten."""
    size, c = 1200, 600
    image = Image.new("RGB", (size, size), "#f6efe0")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(120)
    for minute in range(60):
        a = np.radians(minute * 6)
        inner, width = (500, 12) if minute % 5 == 0 else (530, 5)
        draw.line([(c + r * np.sin(a), c - r * np.cos(a)) for r in (inner, 556)], "#2c2a28", width)
    for hour in range(1, 13):
        a = np.radians(hour * 30)
        draw.text((c + 415 * np.sin(a), c - 415 * np.cos(a)), str(hour), "#2c2a28", font, anchor="mm")
    for degrees, reach, width, ink in ((304, 270, 30, "#2c2a28"), (57, 400, 20, "#2c2a28"), (180, 210, 9, "#c0472b")):
        a = np.radians(degrees)
        ends = [(c - 50 * np.sin(a), c + 50 * np.cos(a)), (c + reach * np.sin(a), c - reach * np.cos(a))]
        draw.line(ends, ink, width)
    draw.ellipse((c - 30, c - 30, c + 30, c + 30), "#c9a25e")
    return (np.asarray(image, np.float32) / 255) ** 2.2


def bells() -> Field:
    """Two bells with their nuts, and the handle over them."""
    shell = turned(
        [
            (0.36, 0, 0),
            (0.35, 0.08),
            (0.24, 0.23),
            (0.05, 0.29),
            (0.0, 0.29, 0),
            (0, 0.24, 0),
            (0.2, 0.19),
            (0.31, 0.06),
            (0.33, 0, 0),
        ],
        ring=True,
    )
    pair = union(*(placed(shell, (s * 0.5, 1.72, 0), (0, 0, -s * 32)) for s in (-1, 1)))
    nuts = union(*(sphere((s * 0.665, 1.985, 0), 0.05) for s in (-1, 1)))
    grip = tube([(-0.42, 1.98), (-0.3, 2.24), (0, 2.36), (0.3, 2.24), (0.42, 1.98)], [0.03] * 5)
    return union(pair, nuts, grip)


def fittings() -> Field:
    """Legs, hammer and the posts of the bells."""
    posts = union(
        *(
            placed(turned([(0, 0), (0.03, 0), (0.03, 0.3), (0, 0.3)]), (s * 0.42, 1.58, 0), (0, 0, -s * 32))
            for s in (-1, 1)
        )
    )
    legs = union(
        *(
            placed(
                turned([(0, 0), (0.06, 0.02), (0.075, 0.1), (0.045, 0.34), (0, 0.34)]),
                (s * 0.56, 0, 0.02),
                (0, 0, s * 24),
            )
            for s in (-1, 1)
        )
    )
    hammer = union(tube([(0, 1.8), (0, 2.0)], [0.022, 0.022]), sphere((0, 2.02, 0), 0.065))
    return union(posts, legs, hammer)


def clock() -> Scene:
    """A twin-bell alarm clock in mint enamel."""
    case = turned(
        [
            (0, -0.3),
            (0.68, -0.36),
            (0.84, -0.26),
            (0.9, 0),
            (0.86, 0.24),
            (0.75, 0.3, 0),
            (0.7, 0.24, 0),
            (0.7, 0.2, 0),
            (0, 0.2),
        ]
    )
    case = placed(case, (0, 1.02, 0), (90, 0, 0))
    ring = torus((0, 1.02, 0.28), 0.75, 0.034, axis=2)
    face = placed(turned([(0, 0.15), (0.71, 0.15, 0), (0.71, 0.215, 0), (0, 0.215)]), (0, 1.02, 0), (90, 0, 0))
    picture = dial()
    return Scene(
        parts=(
            Part(case, glaze(plain("7fb8a4"), 0.05, 0.15)),
            Part(face, Material(lambda p: pasted(picture, p[0] / 1.4 + 0.5, (p[1] - 1.02) / 1.4 + 0.5))),
            Part(union(ring, bells()), BRASS),
            Part(fittings(), STEEL),
        ),
        low=(-0.95, 0, -0.4),
        high=(0.95, 2.42, 0.4),
        floor=Material(plain("ecd2c4"), shine=0.03, rough=0.4),
        wall=Material(plain("ecd2c4")),
        lights=(KEY, RIM),
        camera=Camera((-1.6, 1.9, 6.2), (0, 1.13, 0), 26, 0.04),
    )


SCENES = {"lamp": lamp, "candle": candle, "clock": clock}
