"""Scenes of the tea and dinner table."""

import numpy as np
from draw import paints
from draw.fields import Array, Field, displaced, placed, smooth_min, torus, tube, turned
from draw.paints import halo, linen, mix, plain, planks, speckled, step, wood
from draw.sets import BRASS, KEY, LANDSCAPE, RIM, SQUARE, glaze
from draw.studio import Camera, Light, Material, Part, Scene


def teapot() -> Scene:
    """A teal teapot with a brass knob."""
    body = turned(
        [
            (0, 0.02),
            (0.42, 0.02),
            (0.5, 0.0, 0),
            (0.56, 0.03),
            (0.82, 0.3),
            (0.9, 0.62),
            (0.74, 1.0),
            (0.42, 1.2),
            (0, 1.24),
        ]
    )
    spout = tube(
        [(0.6, 0.42), (0.95, 0.55), (1.13, 0.82), (1.24, 1.08), (1.37, 1.24)], [0.24, 0.19, 0.13, 0.095, 0.085]
    )
    mouth = tube([(1.27, 1.13), (1.5, 1.38)], [0.05, 0.065])
    grip = tube([(-0.6, 1.02), (-0.9, 1.2), (-1.17, 1.1), (-1.24, 0.8), (-1.05, 0.5), (-0.8, 0.36)], [0.07] * 6)

    def pot(p: Array) -> Array:
        whole = smooth_min(smooth_min(body(p), spout(p), 0.12), grip(p), 0.08)
        return np.maximum(whole, -mouth(p))

    lid = turned([(0, 1.16), (0.44, 1.16, 0), (0.46, 1.2), (0.4, 1.27), (0.2, 1.35), (0.0, 1.37)])
    knob = turned([(0, 1.33), (0.07, 1.34), (0.055, 1.42), (0.12, 1.5), (0.1, 1.58), (0, 1.61)])
    teal = glaze(
        lambda p: mix(
            speckled("1f6f70", "0d3a3f", 0.15)(p), plain("7fb3a2")(p), step(0.35, 0.75, paints.cloud(p * 2.2)) * 0.3
        )
    )
    return Scene(
        parts=(Part(pot, teal), Part(lid, teal), Part(knob, BRASS)),
        low=(-1.35, 0, -0.95),
        high=(1.55, 1.65, 0.95),
        floor=Material(plain("d9b48c")),
        wall=Material(plain("d9b48c")),
        lights=(KEY, RIM),
        camera=Camera((1.0, 2.4, 6.4), (0.1, 0.68, 0), 26),
    )


def mugs() -> Scene:
    """Two stoneware mugs, raw clay below and glaze above."""
    cup = turned(
        [
            (0, 0),
            (0.36, 0),
            (0.41, 0.05),
            (0.45, 0.3),
            (0.46, 0.9),
            (0.445, 0.93),
            (0.42, 0.9),
            (0.4, 0.3),
            (0.34, 0.1),
            (0, 0.08),
        ]
    )
    angles = np.linspace(np.radians(75), np.radians(-75), 9)
    ear = tube([(0.42 + 0.3 * np.cos(a), 0.5 + 0.27 * np.sin(a)) for a in angles], [0.05] * 9)

    def mug(p: Array) -> Array:
        hollow = np.sqrt(p[0] ** 2 + p[2] ** 2) - np.float32(0.41)
        return smooth_min(cup(p), np.maximum(ear(p), -hollow), 0.06)

    def dipped(top: str, speck: str) -> paints.Paint:
        clay, cover = speckled("9c7a5c", "5d4230", 0.3, 90), speckled(top, speck, 0.15, 75)
        return lambda p: mix(clay(p), cover(p), step(0.285, 0.3, p[1] + 0.05 * np.sin(p[0] * 4 + p[2] * 3)))

    coffee = turned([(0, 0.7), (0.4, 0.7, 0), (0.4, 0.74, 0), (0, 0.74)])
    front, back = (0.3, 0, 0.35), (-0.52, 0, -0.6)
    cream, blue = glaze(dipped("e9e1d0", "7a5f48")), glaze(dipped("54708a", "22303f"))
    turn_front, turn_back = (0, -25, 0), (0, 150, 0)
    dark = glaze(plain("2a150b"), 0.04, 0.05)
    return Scene(
        parts=(
            Part(placed(mug, front, turn_front), cream),
            Part(placed(coffee, front), dark),
            Part(placed(mug, back, turn_back), blue),
        ),
        low=(-1.5, 0, -1.2),
        high=(1.2, 0.98, 0.95),
        floor=Material(planks("b98a5a", "6d4426"), shine=0.03, rough=0.45),
        wall=Material(plain("a8aca4")),
        lights=(KEY, RIM),
        camera=Camera((0.5, 2.5, 5.6), (-0.05, 0.42, 0), 20, 0.05),
        depth=2.4,
        bend=0.03,
        size=LANDSCAPE,
    )


def bowl(radius: float, height: float, wall: float = 0.06) -> Field:
    """A footed bowl."""
    foot = radius * 0.42
    return turned(
        [
            (0, 0.05),
            (foot - 0.06, 0.05),
            (foot - 0.04, 0.0, 0),
            (foot, 0.0, 0),
            (foot + 0.02, 0.07),
            (radius * 0.82, height * 0.5),
            (radius, height - 0.02),
            (radius - wall * 0.5, height + 0.01),
            (radius - wall, height - 0.03),
            (radius * 0.76, height * 0.52),
            (foot, 0.07 + wall),
            (0, 0.05 + wall),
        ]
    )


def bowls() -> Scene:
    """Four nested bowls in four glazes and a fifth in front."""
    shape = bowl(0.85, 0.55)
    tones = (("3d4a52", "1d2429"), ("7f9482", "47584c"), ("efe6d6", "9b8468"), ("c47a55", "713a22"))
    nested = [
        Part(placed(shape, (-0.45, 0.24 * k, -0.2)), glaze(speckled(tone, speck, 0.05, 60)))
        for k, (tone, speck) in enumerate(tones)
    ]
    small = Part(placed(bowl(0.55, 0.36), (0.92, 0, 0.45)), glaze(speckled("dcb35a", "8a5f22", 0.05, 60)))
    return Scene(
        parts=(*nested, small),
        low=(-1.35, 0, -1.1),
        high=(1.5, 1.3, 1.05),
        floor=Material(linen("cfc4b4", 22)),
        wall=Material(plain("8d9a91")),
        lights=(KEY, RIM),
        camera=Camera((0.3, 2.7, 6.4), (0.08, 0.52, 0), 22, 0.05),
        depth=2.2,
        bend=0.5,
        size=LANDSCAPE,
    )


def whisk() -> Field:
    """A bamboo tea whisk that stands on its handle's end, tines up."""
    outline = turned(
        [
            (0, 0),
            (0.13, 0),
            (0.14, 0.02, 0),
            (0.14, 0.42),
            (0.17, 0.5),
            (0.3, 0.78),
            (0.27, 0.98),
            (0.2, 1.02),
            (0.1, 0.9),
            (0, 0.6),
        ]
    )

    def tines(p: Array) -> Array:
        return 0.012 * np.sin(np.arctan2(p[2], p[0]) * 30) * step(0.44, 0.55, p[1])

    return displaced(outline, tines, 0.6)


def drip(p: Array) -> Array:
    """Dark glaze that ends in drips above bare clay, thin at the rim."""
    edge = 0.42 + 0.16 * np.sin(np.arctan2(p[2], p[0]) * 3 + 1) + 0.2 * (paints.cloud(p * 4) - 0.5)
    glazed = mix(plain("20262b")(p), plain("5b6a6b")(p), step(0.4, 0.75, paints.cloud(p * 3.5)))
    rim = step(0.84, 0.93, p[1])
    return mix(
        mix(plain("6b4a35")(p) * (0.8 + 0.4 * paints.cloud(p * 12)), glazed, step(-0.02, 0.03, p[1] - edge)),
        plain("8b6a45")(p),
        rim * 0.7,
    )


def matcha() -> Scene:
    """A raku tea bowl with matcha and a bamboo whisk."""
    shape = turned(
        [
            (0, 0.06),
            (0.34, 0.06),
            (0.36, 0, 0),
            (0.43, 0, 0),
            (0.46, 0.08),
            (0.72, 0.2),
            (0.8, 0.5),
            (0.77, 0.9),
            (0.735, 0.93),
            (0.7, 0.9),
            (0.71, 0.5),
            (0.6, 0.26),
            (0.3, 0.16),
            (0, 0.14),
        ]
    )
    uneven = displaced(shape, lambda p: 0.03 * paints.cloud(p * 2.4 + 4, 2), 0.85)
    tea = turned([(0, 0.4), (0.735, 0.4, 0), (0.735, 0.6, 0), (0, 0.59)])
    foam, deep = plain("a9c25a"), plain("6f9432")

    def froth(p: Array) -> Array:
        return mix(deep(p), foam(p), step(0.3, 0.62, paints.cloud(p * 9 + 2)))

    bamboo = Material(lambda p: plain("d8b878")(p) * (0.8 + 0.35 * paints.noise(p * 14)), shine=0.03, rough=0.5)
    cord = Part(placed(torus((0, 0.47, 0), 0.165, 0.022), (1.12, 0, -0.4)), Material(plain("2b2420")))
    return Scene(
        parts=(
            Part(uneven, glaze(drip)),
            Part(tea, Material(froth, shine=0.02, rough=0.5)),
            Part(placed(whisk(), (1.12, 0, -0.4)), bamboo),
            cord,
        ),
        low=(-0.9, 0, -0.9),
        high=(1.5, 1.08, 0.9),
        floor=Material(wood("5a4334", "2c1e17", along=0), shine=0.04, rough=0.35),
        wall=Material(halo((0, 1.4, -3), "6d7568", "3c423d", 4)),
        lights=(Light((-4.4, 4.2, 1.6), (1.4, 1.4), power=1.0, colour=(1, 0.95, 0.86)), RIM),
        camera=Camera((-0.3, 3.1, 5.2), (0.25, 0.46, 0), 26, 0.05),
        depth=3,
        bend=0.6,
        exposure=1.35,
        size=SQUARE,
    )


SCENES = {"teapot": teapot, "mugs": mugs, "bowls": bowls, "matcha": matcha}
