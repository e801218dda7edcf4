"""Follows light through a scene: direct light from softboxes, one diffuse bounce, reflections, glass."""

import numpy as np
from draw.fields import Array, Field, baked, union
from draw.studio import Material, Part, Rays, Scene, Seen, backdrop, ball, march, mirror, slab, unit

GLASS_INDEX = 1.46
LIFT = 0.006  # new rays start this far above the surface


class Tracer:
    """Renders one sample per pixel and call; `sample` of `samples` picks the point of each random sequence."""

    def __init__(self, scene: Scene, samples: int) -> None:
        self.scene = scene
        self.samples = samples
        self.sample = 0
        opaque = [part for part in scene.parts if not part.material.glass]
        self.groups: dict[bool, list[Part]] = {
            False: list(scene.parts),
            True: [part for part in scene.parts if part.material.glass != "thin"],
        }
        low, high = scene.low, scene.high
        self.opaque = baked(union(*(part.body for part in opaque)), low, high, exact=False)
        self.bodies = {
            inner: baked(union(*(part.body for part in group)), low, high, exact=True)
            for inner, group in self.groups.items()
            if not inner or len(group) < len(scene.parts)
        }
        self.solid = [part for part in scene.parts if part.material.glass == "solid"]

    def number(self, pixel: Array, dimension: int) -> Array:
        """A uniform number per pixel; over the samples they fill the interval evenly."""
        h = pixel.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32((dimension * 0x85EBCA6B) & 0xFFFFFFFF)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
        h = (h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
        h ^= h >> np.uint32(15)
        turn = (self.sample * (2 * (dimension // 2) + 1)) % self.samples
        step = (turn + 0.5) * (0.7548776662 if dimension % 2 else 0.5698402910)
        return ((h / np.float64(2**32) + step) % 1).astype(np.float32)

    def camera_rays(self, pixel: Array) -> Rays:
        """Rays through the pixels, jittered within the pixel and over the lens."""
        camera, (width, height) = self.scene.camera, self.scene.size
        eye, target = np.array(camera.eye), np.array(camera.target)
        ahead = (target - eye) / np.linalg.norm(target - eye)
        side = np.cross(ahead, [0, 1, 0])
        side /= np.linalg.norm(side)
        up = np.cross(side, ahead)
        scale = np.tan(np.radians(camera.view) / 2) / (height / 2)
        x = (pixel % width + self.number(pixel, 0) - width / 2) * scale
        y = (height / 2 - pixel // width - self.number(pixel, 1)) * scale
        way = ahead[:, None] + side[:, None] * x + up[:, None] * y
        radius = np.sqrt(self.number(pixel, 2)) * camera.aperture
        angle = 2 * np.pi * self.number(pixel, 3)
        shift = side[:, None] * (radius * np.cos(angle)) + up[:, None] * (radius * np.sin(angle))
        way = way - shift / np.linalg.norm(target - eye)
        start = (eye[:, None] + shift).astype(np.float32)
        return Rays(start, unit(way.astype(np.float32)), pixel)

    def dome(self, rays: Rays, *, direct: bool) -> Array:
        """Light from outside the set; `direct` rays also see the softboxes."""
        low, high = (np.array(c, np.float32)[:, None] for c in self.scene.dome)
        height = np.clip(rays.way[1] * 0.5 + 0.5, 0, 1)
        out = low + (high - low) * height
        if not direct:
            return out
        for light in self.scene.lights:
            if light.seen:
                centre, u, v, normal = light.frame()
                with np.errstate(divide="ignore", invalid="ignore"):
                    t = ((centre - rays.start) * normal).sum(0) / (rays.way * normal).sum(0)
                    at = rays.start + rays.way * t - centre
                across = np.abs((at * u).sum(0)) / (u * u).sum()
                along = np.abs((at * v).sum(0)) / (v * v).sum()
                edge = np.clip((1 - np.maximum(across, along)) * 8, 0, 1)
                face = (t > 0) & ((rays.way * normal).sum(0) < 0)
                bright = np.array(light.colour, np.float32)[:, None] * np.float32(light.radiance())
                out = out + np.where(face, edge, 0) * bright
        return out

    def shadow(self, start: Array, way: Array, far: Array, pixel: Array) -> Array:
        """Share of light that reaches each point, RGB; solid glass tints it."""
        rays = Rays(start, way, pixel)
        near, end = slab(rays, self.scene.low, self.scene.high)
        end = np.minimum(end, far)
        clear = np.ones((3, far.size), np.float32)
        clear *= np.isinf(march(self.opaque, rays, near, end, 48))
        for part in self.solid:
            hit = np.isfinite(march(part.body, rays, near, end, 48))
            clear[:, hit] *= part.material.paint(start[:, hit]) * 0.85
        return clear

    def direct(self, at: Array, normal: Array, pixel: Array, depth: int) -> Array:
        """Light of all softboxes that arrives at the points, one random spot of each box."""
        total = np.zeros_like(at)
        for k, light in enumerate(self.scene.lights):
            centre, u, v, facing = light.frame()
            a, b = (self.number(pixel, 10 + 20 * depth + 2 * k + i) * 2 - 1 for i in (0, 1))
            toward = centre + u * a + v * b - at
            far = np.sqrt((toward * toward).sum(0))
            way = toward / far
            cosine = np.maximum((way * normal).sum(0), 0) * np.maximum(-(way * facing).sum(0), 0)
            area = 4 * light.half[0] * light.half[1]
            strength = cosine * np.float32(light.radiance() * area / np.pi) / (far * far)
            if depth >= 3:
                strength = np.minimum(strength, np.float32(1.5))  # else rare bounces next to a lamp leave bright dots
            lit = np.flatnonzero(strength > 1e-4)
            if lit.size:
                clear = self.shadow(at[:, lit], way[:, lit], far[lit], pixel[lit])
                total[:, lit] += clear * strength[lit] * np.array(light.colour, np.float32)[:, None]
        return total

    def radiance(self, rays: Rays, depth: int, *, inner: bool = False, direct: bool = True) -> Array:
        """RGB that each ray brings back."""
        return self.see(rays, depth, inner=inner, direct=direct).total

    def see(self, rays: Rays, depth: int, *, inner: bool = False, direct: bool = True) -> Seen:
        """What each ray meets first and how it is lit. `inner` rays have passed thin glass and ignore it."""
        parts = self.groups[inner]
        ground, normal = backdrop(self.scene, rays)
        near, far = slab(rays, self.scene.low, self.scene.high)
        body = self.opaque if depth >= 3 else self.bodies.get(inner, self.bodies[False])
        t = march(body, rays, near, np.minimum(far, ground))
        hit = np.isfinite(t)
        away = np.where(hit, t, ground)
        zeros = np.zeros_like(rays.start)
        seen = Seen(zeros, zeros.copy(), zeros.copy(), np.where(np.isinf(away), 0, normal), np.minimum(away, 99))
        miss = np.flatnonzero(np.isinf(away))
        if miss.size:
            seen.rest[:, miss] = self.dome(rays.pick(miss), direct=direct)
        at = rays.start + rays.way * seen.away
        owner = np.full(t.shape, -1)
        struck = np.flatnonzero(hit)
        if struck.size:
            owner[struck] = np.argmin([part.body(at[:, struck]) for part in parts], 0)
        on_wall = ~hit & np.isfinite(away) & (normal[1] < 0.7)
        on_floor = ~hit & np.isfinite(away) & ~on_wall
        for material, index, part in [
            (self.scene.floor, np.flatnonzero(on_floor), None),
            (self.scene.wall, np.flatnonzero(on_wall), None),
            *((part.material, np.flatnonzero(owner == k), part) for k, part in enumerate(parts)),
        ]:
            if index.size:
                bundle = rays.pick(index)
                n = seen.normal[:, index] if part is None else slope(part.body, at[:, index])
                seen.normal[:, index] = n
                shaded = self.shade(bundle, at[:, index], n, (material, part), depth)
                seen.paint[:, index], seen.light[:, index], seen.rest[:, index] = shaded
        return Seen(seen.paint, seen.light, seen.rest, seen.normal, seen.away)

    def shade(
        self, rays: Rays, at: Array, normal: Array, made: tuple[Material, Part | None], depth: int
    ) -> tuple[Array, Array, Array]:
        """Paint, diffuse light and everything else (reflection, glass, glow) at the points."""
        material, part = made
        paint = material.paint(at)
        rest = np.zeros_like(at) if material.glow is None else material.glow(at)
        rest = np.minimum(rest, 0.8) if depth >= 3 else rest  # a rare bounce into a flame would leave a bright dot
        facing = np.clip(-(rays.way * normal).sum(0), 0, 1)
        head_on = paint if material.metal else np.float32(material.shine)
        fresnel = head_on + (1 - head_on) * np.float32(material.grazing * (1 - material.rough)) * (1 - facing) ** 5
        if material.shine or material.metal:
            rest = rest + fresnel * self.reflected(rays, at, normal, material, depth)
        if material.metal:
            return np.zeros_like(at), np.zeros_like(at), rest
        if material.glass and part:
            if depth < 4:
                rest = rest + (1 - fresnel) * self.through(rays, at, normal, part, depth)
            return np.zeros_like(at), np.zeros_like(at), rest
        above = at + normal * np.float32(LIFT)
        light = self.direct(above, normal, rays.pixel, depth)
        light += self.fill(above, normal, rays.pixel, depth)
        return paint * (1 - (fresnel if material.shine else 0)), light, rest

    def fill(self, above: Array, normal: Array, pixel: Array, depth: int) -> Array:
        """Indirect light: followed for one bounce at first hits, estimated after that."""
        u, v = self.number(pixel, 4 + 20 * depth), self.number(pixel, 5 + 20 * depth)
        way = unit(normal + ball(u, v) * np.float32(0.999))
        if depth == 0:
            return self.radiance(Rays(above, way, pixel), 3, direct=False)
        open_air = np.clip(self.opaque(above + normal * np.float32(0.3)) / 0.3, 0.15, 1)
        return self.dome(Rays(above, normal, pixel), direct=False) * open_air

    def reflected(self, rays: Rays, at: Array, normal: Array, material: Material, depth: int) -> Array:
        """What a surface mirrors."""
        way = mirror(rays.way, normal)
        if material.rough:
            u, v = (self.number(rays.pixel, 6 + 20 * depth + i) for i in (0, 1))
            way = unit(way + ball(u, v) * np.float32(material.rough**2))
            below = np.minimum((way * normal).sum(0), 0)
            way = unit(way - 2 * below * normal)
        bundle = Rays(at + normal * np.float32(LIFT), way, rays.pixel)
        if depth >= 2:
            return self.dome(bundle, direct=depth < 3)
        seen = self.radiance(bundle, depth + 1)
        return np.minimum(seen, 1.5) if material.rough > 0.2 and not material.metal else seen

    def through(self, rays: Rays, at: Array, normal: Array, part: Part, depth: int) -> Array:
        """What shows through glass; thin glass does not bend light, solid glass bends and tints it."""
        if part.material.glass == "thin":
            bundle = Rays(at + rays.way * np.float32(LIFT), rays.way, rays.pixel)
            return part.material.paint(at) * self.radiance(bundle, depth + 1, inner=True)
        way, _ = refract(rays.way, normal, 1 / GLASS_INDEX)
        start, path = at - normal * np.float32(LIFT), np.zeros(at.shape[1], np.float32)

        def inside(p: Array) -> Array:
            return -part.body(p)

        tint = part.material.paint(at)
        for _ in range(3):
            t = march(inside, Rays(start, way, rays.pixel), np.zeros_like(path), np.full_like(path, 6), 60)
            t = np.where(np.isfinite(t), t, 0)
            path, end = path + t, start + way * t
            n = slope(part.body, end)
            out, bent = refract(way, -n, GLASS_INDEX)
            start, way = np.where(bent, end + n * LIFT, end - n * LIFT), np.where(bent, out, mirror(way, n))
            start, way = start.astype(np.float32), way.astype(np.float32)
            if bent.all():
                break
        return tint ** (path * 1.6) * self.radiance(Rays(start, way, rays.pixel), depth + 2)


def slope(body: Field, at: Array) -> Array:
    """Surface normals by differences at four corners of a tetrahedron."""
    total = np.zeros_like(at)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        e = np.array(corner, np.float32)[:, None]
        total += e * body(at + e * np.float32(0.003))
    return unit(total)


def refract(way: Array, normal: Array, ratio: float) -> tuple[Array, Array]:
    """Bent directions and where bending is possible (elsewhere light is reflected inside)."""
    cosine = -(way * normal).sum(0)
    k = 1 - ratio * ratio * (1 - cosine * cosine)
    bent = ratio * way + (ratio * cosine - np.sqrt(np.maximum(k, 0))) * normal
    return unit(bent.astype(np.float32)), k > 0
