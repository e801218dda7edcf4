"""Procedural paints: functions from points to linear RGB."""

import numpy as np
from draw.fields import Array, Point, column, length
from draw.studio import Paint

_TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]], np.float32)  # hides the lattice's axes
_LATTICE = np.random.default_rng(7).random((64, 64, 64), np.float32)


def srgb(code: str) -> Point:
    """A hex colour such as "c8b49a" as linear RGB."""
    values = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return tuple(float(v) for v in np.where(values < 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4))


def noise(p: Array) -> Array:
    """Smooth noise between 0 and 1 with cells of size one."""
    cell = np.floor(p).astype(np.int32)
    f = p - cell
    f = f * f * (3 - 2 * f)
    total = np.zeros(p.shape[1], np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            for dz in (0, 1):
                weight = (f[0] if dx else 1 - f[0]) * (f[1] if dy else 1 - f[1]) * (f[2] if dz else 1 - f[2])
                total += weight * _LATTICE[(cell[0] + dx) & 63, (cell[1] + dy) & 63, (cell[2] + dz) & 63]
    return total


def cloud(p: Array, octaves: int = 4) -> Array:
    """Noise with detail at several scales, between 0 and 1."""
    total, weight = np.zeros(p.shape[1], np.float32), 0.5
    for k in range(octaves):
        total += weight * noise(p * np.float32(2.03**k) + np.float32(7.3 * k))
        weight *= 0.5
    return total / np.float32(1 - 0.5**octaves)


def step(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, share: Array) -> Array:
    """From `a` (share 0) to `b` (share 1)."""
    return a + (b - a) * share


def plain(code: str) -> Paint:
    """One colour."""
    colour = column(srgb(code))
    return lambda p: np.broadcast_to(colour, p.shape).copy()


def rising(low: str, high: str, between: tuple[float, float]) -> Paint:
    """One colour below, another above, blended between two heights."""
    a, b = column(srgb(low)), column(srgb(high))
    return lambda p: mix(a, b, step(*between, p[1]))


def speckled(code: str, dots: str, share: float = 0.3, grain: float = 26) -> Paint:
    """Stoneware glaze with iron specks and a slightly uneven tone."""
    base, speck = column(srgb(code)), column(srgb(dots))

    def paint(p: Array) -> Array:
        tone = 0.9 + 0.2 * cloud(p * 3)
        q = _TURN @ p * np.float32(grain)
        spots = step(0.72 - share * 0.2, 0.77 - share * 0.2, 0.6 * noise(q) + 0.4 * noise(q[::-1] * 1.7 + 5))
        return mix(base * tone, speck, spots * 0.75)

    return paint


def wood(light: str, dark: str, along: int = 1, scale: float = 1.0) -> Paint:
    """Grain that runs along one axis."""
    a, b = column(srgb(light)), column(srgb(dark))
    stretch = np.full((3, 1), 1.0, np.float32)
    stretch[along] = 0.08
    u, v = (i for i in range(3) if i != along)

    def paint(p: Array) -> Array:
        q = p * np.float32(scale)
        bent = cloud(q * stretch * 2.2 + 3, 3)
        away = np.sqrt((q[u] + 0.7 + bent * 0.5) ** 2 + (q[v] - 0.9 + bent * 0.35) ** 2)
        rings = away * 9 + bent * 5
        ring = rings - np.floor(rings)
        tone = ring**2 * (1 - step(0.88, 1.0, ring)) * 0.75
        fibre = cloud(q * stretch * 55, 2)
        return mix(a, b, np.clip(tone * 0.8 + (fibre - 0.5) * 0.7 + 0.12, 0, 1))

    return paint


def planks(light: str, dark: str, width: float = 1.1) -> Paint:
    """A table top of boards that run from left to right."""
    grain = wood(light, dark, along=0, scale=0.8)

    def paint(p: Array) -> Array:
        board = np.floor(p[2] / width + 0.35)
        q = p.copy()
        q[0], q[1] = q[0] + board * 7.7, q[1] + board * 3.1
        gap = np.abs((p[2] / width + 0.35) % 1 - 0.5)
        tone = 0.88 + 0.2 * ((board * 0.618) % 1)
        return grain(q) * tone * (1 - 0.75 * step(0.488, 0.497, gap))

    return paint


def linen(code: str, threads: float = 26, contrast: float = 0.22) -> Paint:
    """Woven cloth, seen from above or wrapped around a shade."""
    base = column(srgb(code))

    def paint(p: Array) -> Array:
        q = p * np.float32(threads)
        warp = noise(np.stack([q[0], q[1] * 0.04, q[2] * 0.04]))
        weft = noise(np.stack([q[0] * 0.04, q[1] + 9, q[2] + 5]))
        weave = np.sin(q[0] * np.pi * 2) * np.sin((q[2] + q[1]) * np.pi * 2) * 0.15
        return base * (1 + contrast * (warp + weft - 1 + weave))

    return paint


def marble(code: str, vein: str, scale: float = 0.8) -> Paint:
    """Pale stone with thin veins."""
    base, dark = column(srgb(code)), column(srgb(vein))

    def paint(p: Array) -> Array:
        q = p * np.float32(scale)
        bent = cloud(q + 11, 5)
        line = np.abs(cloud(q * 0.9 + bent * 1.4 + 5, 4) - 0.5)
        fine = np.abs(cloud(q * 2.3 + bent + 31, 3) - 0.5)
        veins = (1 - step(0.0, 0.05, line)) * 0.55 + (1 - step(0.0, 0.02, fine)) * 0.2
        return mix(base, dark, np.clip(veins * step(0.3, 0.6, bent) + 0.06 * bent, 0, 1))

    return paint


def halo(centre: Point, inner: str, outer: str, radius: float) -> Paint:
    """A soft pool of light on a backdrop."""
    c, a, b = column(centre), column(srgb(inner)), column(srgb(outer))
    return lambda p: mix(a, b, step(0, radius, length(p - c)))
