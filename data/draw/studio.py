"""The photo studio: parts on a seamless backdrop, soft lights, a camera with a lens; one sample per call."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from draw.fields import Array, Field, Point, column, length

Paint = Callable[[Array], Array]
HIT = 0.0012


@dataclass(frozen=True)
class Material:
    """How a surface answers light. `paint` gives linear RGB (3, n) for points; `glass` is "", "thin" or "solid"."""

    paint: Paint
    shine: float = 0.0  # reflectance seen head on; 0 is matt
    rough: float = 0.0
    metal: bool = False
    glass: str = ""
    glow: Paint | None = None
    grazing: float = 1.0  # how far the reflectance rises towards the edge


@dataclass(frozen=True)
class Part:
    """A body and what it is made of."""

    body: Field
    material: Material


@dataclass(frozen=True)
class Light:
    """A rectangular softbox; `power` is the light that a surface facing it receives at `aim`."""

    at: Point
    half: tuple[float, float] = (1.6, 1.6)
    power: float = 1.0
    colour: Point = (1, 1, 1)
    aim: Point = (0, 0.8, 0)
    seen: bool = True  # shows up in reflections

    def frame(self) -> tuple[Array, Array, Array, Array]:
        """Centre, the two half edges and the normal, as columns."""
        centre, toward = column(self.at), column(self.aim) - column(self.at)
        normal = toward / length(toward)
        side = np.cross(normal[:, 0], [0, 1, 0.01]).astype(np.float32)[:, None]
        side /= length(side)
        up = np.cross(side[:, 0], normal[:, 0])[:, None]
        return centre, side * np.float32(self.half[0]), up * np.float32(self.half[1]), normal

    def radiance(self) -> float:
        """What the lit face of the softbox shows."""
        away = float(length(column(self.aim) - column(self.at))[0])
        return self.power * np.pi * away * away / (4 * self.half[0] * self.half[1])


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from; `view` is the vertical angle in degrees."""

    eye: Point
    target: Point
    view: float = 24.0
    aperture: float = 0.03


@dataclass(frozen=True)
class Scene:
    """Everything in front of the lens. The floor bends into the wall at `-depth` with radius `bend`."""

    parts: tuple[Part, ...]
    low: Point
    high: Point
    floor: Material
    wall: Material
    lights: tuple[Light, ...]
    camera: Camera
    dome: tuple[Point, Point] = ((0.22, 0.22, 0.23), (0.5, 0.5, 0.52))  # fill light from the horizon, from above
    depth: float = 4.0
    bend: float = 1.6
    exposure: float = 1.0
    size: tuple[int, int] = (640, 640)


@dataclass
class Rays:
    """A bundle of rays; `pixel` seeds each ray's random numbers."""

    start: Array
    way: Array
    pixel: Array

    def pick(self, index: Array) -> "Rays":
        """The rays at these positions."""
        return Rays(self.start[:, index], self.way[:, index], self.pixel[index])


@dataclass
class Seen:
    """What rays met: radiance = paint * light + rest."""

    paint: Array
    light: Array
    rest: Array
    normal: Array
    away: Array
    total: Array = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.paint * self.light + self.rest


def unit(v: Array) -> Array:
    """Columns scaled to length one."""
    return v / np.maximum(length(v), np.float32(1e-9))


def mirror(way: Array, normal: Array) -> Array:
    """Directions reflected at a surface."""
    return way - 2 * (way * normal).sum(0) * normal


def ball(u: Array, v: Array) -> Array:
    """Points on the unit sphere from two uniform numbers."""
    z = 1 - 2 * u
    r = np.sqrt(np.maximum(1 - z * z, 0))
    return np.stack([r * np.cos(2 * np.pi * v), r * np.sin(2 * np.pi * v), z]).astype(np.float32)


def march(body: Field, rays: Rays, near: Array, far: Array, steps: int = 72) -> Array:
    """Distance along each ray to the body; infinity where it misses."""
    found = np.full(near.shape, np.inf, np.float32)
    live = np.flatnonzero(near < far)
    start, way, t, end = rays.start[:, live], rays.way[:, live], near[live], far[live]
    alive = np.ones(live.size, bool)
    for step in range(steps):
        if not live.size:
            break
        d = body(start + way * t)
        done = (d < HIT) & alive
        found[live[done]] = t[done]
        alive &= ~done & (t < end)
        t = t + np.maximum(d, np.float32(HIT))
        if step % 2 == 1 and np.count_nonzero(alive) < 0.8 * alive.size:
            live, start, way, t, end = live[alive], start[:, alive], way[:, alive], t[alive], end[alive]
            alive = np.ones(live.size, bool)
    return found


def slab(rays: Rays, low: Point, high: Point) -> tuple[Array, Array]:
    """Where each ray enters and leaves an axis-aligned box."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (column(low) - rays.start) / rays.way
        b = (column(high) - rays.start) / rays.way
    return np.maximum(np.fmin(a, b).max(0), 0), np.fmax(a, b).min(0)


def backdrop(scene: Scene, rays: Rays) -> tuple[Array, Array]:
    """Distance to the seamless backdrop and its normal: floor, quarter cylinder, wall."""
    (_, oy, oz), (_, dy, dz) = rays.start, rays.way
    back, bend = np.float32(-scene.depth), np.float32(scene.bend)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(dy < 0, -oy / dy, np.inf)
        wall = np.where(dz < 0, (back - oz) / dz, np.inf)
        a = dy * dy + dz * dz
        b = (oy - bend) * dy + (oz - back - bend) * dz
        c = (oy - bend) ** 2 + (oz - back - bend) ** 2 - bend * bend
        curve = (-b + np.sqrt(np.maximum(b * b - a * c, 0))) / a
        on_floor = np.isfinite(floor) & (oz + dz * floor > back + bend)
        on_wall = np.isfinite(wall) & (oy + dy * wall > bend)
    reached = np.isfinite(floor) | np.isfinite(wall)
    t = np.where(on_floor, floor, np.where(on_wall, wall, np.where(reached, curve, np.inf)))
    t = np.where(t > 0, t, np.inf).astype(np.float32)
    y, z = oy + dy * np.minimum(t, 1e3), oz + dz * np.minimum(t, 1e3)
    ny = np.where(on_floor, 1, np.where(on_wall, 0, (bend - y) / bend))
    nz = np.where(on_floor, 0, np.where(on_wall, 1, (back + bend - z) / bend))
    return t, unit(np.stack([np.zeros_like(ny), ny, nz]).astype(np.float32))
