"""Signed distance fields. A field takes points of shape (3, n) and gives n distances; y points up."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

Array = np.ndarray
Field = Callable[[Array], Array]
Point = tuple[float, float, float]
CELL = 0.006  # edge of a cell in the table of a turned profile


def length(v: Array) -> Array:
    """Euclidean length of each column."""
    total = v[0] * v[0]
    for row in v[1:]:
        total = total + row * row
    return np.sqrt(total)


def column(point: Sequence[float]) -> Array:
    """A point or colour as a (3, 1) column that broadcasts over many points."""
    return np.asarray(point, np.float32)[:, None]


def spline(points: Sequence[tuple[float, ...]], per_span: int = 10) -> Array:
    """A Catmull-Rom curve through 2D points, shape (n, 2). A third element marks a point as a sharp corner."""
    corners = [0, *(i for i, p in enumerate(points[1:-1], 1) if len(p) > 2), len(points) - 1]
    xy = np.array([p[:2] for p in points], float)
    curve = []
    for first, last in pairwise(corners):
        run = xy[first : last + 1]
        padded = np.vstack([2 * run[0] - run[1], run, 2 * run[-1] - run[-2]])
        t = np.linspace(0, 1, per_span, endpoint=False)[:, None]
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
            curve.append(
                b
                + 0.5 * t * (c - a)
                + t**2 * (a - 2.5 * b + 2 * c - 0.5 * d)
                + t**3 * (1.5 * (b - c) + 0.5 * (d - a))
            )
    return np.vstack([*curve, xy[-1:]])


def _polygon_distance(curve: Array, x: Array, y: Array) -> Array:
    best = np.full(x.shape, 1e9)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(curve, np.roll(curve, -1, 0), strict=True):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        h = np.clip((px * ex + py * ey) / max(ex * ex + ey * ey, 1e-12), 0, 1)
        best = np.minimum(best, (px - ex * h) ** 2 + (py - ey * h) ** 2)
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (px < ex * py / ey)
    return np.where(inside, -1, 1) * np.sqrt(best)


def turned(points: Sequence[tuple[float, ...]], *, ring: bool = False, round_by: float = 0.0) -> Field:
    """A body turned about the y axis from a profile of (radius, height) points.

    The profile starts and ends on the axis; with `ring` it is a closed loop away from the axis instead.
    """
    curve = spline([*points, points[0]] if ring else points)
    curve = curve[:-1] if ring else np.vstack([curve, (curve * [-1, 1])[-2:0:-1]])
    (_, y0), (r1, y1) = curve.min(0) - 0.08, curve.max(0) + 0.08
    across, up = int((r1 + CELL) / CELL) + 2, int((y1 - y0) / CELL) + 2
    r_grid, y_grid = np.meshgrid((np.arange(across) - 1) * CELL, y0 + np.arange(up) * CELL)
    table = _polygon_distance(curve, np.abs(r_grid), y_grid).astype(np.float32).ravel() - np.float32(round_by)
    r_max, y_max, inverse = (across - 2.001), (up - 1.001), np.float32(1 / CELL)

    def field(p: Array) -> Array:
        u = np.sqrt(p[0] * p[0] + p[2] * p[2]) * inverse + np.float32(1)
        v = (p[1] - np.float32(y0)) * inverse
        cu, cv = np.minimum(u, np.float32(r_max)), np.clip(v, 0, np.float32(y_max))
        i, j = cu.astype(np.int32), cv.astype(np.int32)
        fu, fv = cu - i, cv - j
        k = j * across + i
        low, high = table[k], table[k + across]
        low = low + fu * (table[k + 1] - low)
        high = high + fu * (table[k + across + 1] - high)
        near = low + fv * (high - low)
        gap = (u - cu) ** 2 + (v - cv) ** 2
        return np.where(gap > 0, np.sqrt(gap * np.float32(CELL * CELL) + near * near), near)

    return field


def sphere(centre: Point, radius: float) -> Field:
    """A ball."""
    c = column(centre)
    return lambda p: length(p - c) - np.float32(radius)


def ellipsoid(centre: Point, radii: Point) -> Field:
    """An ellipsoid (a bound that is exact near the surface)."""
    c, r = column(centre), column(radii)

    def field(p: Array) -> Array:
        q = (p - c) / r
        k0, k1 = length(q), length(q / r)
        return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))

    return field


def box(centre: Point, half: Point, round_by: float = 0.0) -> Field:
    """A box with rounded edges; `half` includes the rounding."""
    c, h = column(centre), column(half) - np.float32(round_by)

    def field(p: Array) -> Array:
        q = np.abs(p - c) - h
        return length(np.maximum(q, 0)) + np.minimum(q.max(0), 0) - np.float32(round_by)

    return field


def tube(points: Sequence[tuple[float, float]], radii: Sequence[float]) -> Field:
    """A tube along a curve through points of the xy plane; its radius runs from each point's to the next's."""
    curve = spline(points, 12)
    girth = np.interp(np.linspace(0, len(radii) - 1, len(curve)), np.arange(len(radii)), radii)
    low = curve.min(0) - 0.25
    nx, ny = (np.ceil((curve.max(0) + 0.25 - low) / CELL)).astype(int) + 2
    x, y = np.meshgrid(low[0] + np.arange(nx) * CELL, low[1] + np.arange(ny) * CELL, indexing="ij")
    best, wide = np.full(x.shape, 1e9), np.zeros(x.shape)
    for (ax, ay), (bx, by), ra, rb in zip(curve, curve[1:], girth, girth[1:], strict=False):
        ex, ey = bx - ax, by - ay
        h = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        d = (x - ax - ex * h) ** 2 + (y - ay - ey * h) ** 2
        wide = np.where(d < best, ra + h * (rb - ra), wide)
        best = np.minimum(best, d)
    table = np.stack([np.sqrt(best), wide], -1).reshape(-1, 2).astype(np.float32)
    origin, top = column(low), column([nx - 1.01, ny - 1.01])

    def field(p: Array) -> Array:
        at = (p[:2] - origin) * np.float32(1 / CELL)
        inside = np.clip(at, 0, top)
        i = inside.astype(np.int32)
        f = inside - i
        k = i[0] * ny + i[1]
        a, b, c, d = (table[k + shift].T for shift in (0, 1, ny, ny + 1))
        a, c = a + f[1] * (b - a), c + f[1] * (d - c)
        away, radius = a + f[0] * (c - a)
        gap = ((at - inside) ** 2).sum(0) * np.float32(CELL * CELL)
        return (np.sqrt(away * away + gap + p[2] * p[2]) - radius) * np.float32(0.95)

    return field


def torus(centre: Point, radius: float, thickness: float, axis: int = 1) -> Field:
    """A ring about the given axis."""
    c = column(centre)
    u, v = (i for i in range(3) if i != axis)

    def field(p: Array) -> Array:
        q = p - c
        across = np.sqrt(q[u] ** 2 + q[v] ** 2) - np.float32(radius)
        return np.sqrt(across * across + q[axis] ** 2) - np.float32(thickness)

    return field


def smooth_min(a: Array, b: Array, k: float) -> Array:
    """The smaller of two distances with a fillet of size `k` between the bodies."""
    h = np.maximum(np.float32(k) - np.abs(a - b), 0) / np.float32(k)
    return np.minimum(a, b) - h * h * np.float32(k / 4)


def union(*fields: Field, blend: float = 0.0) -> Field:
    """All bodies together, with fillets where `blend` is positive."""

    def field(p: Array) -> Array:
        best = fields[0](p)
        for other in fields[1:]:
            best = smooth_min(best, other(p), blend) if blend else np.minimum(best, other(p))
        return best

    return field


def without(body: Field, *cutters: Field) -> Field:
    """The body with the cutters taken away."""

    def field(p: Array) -> Array:
        best = body(p)
        for cutter in cutters:
            best = np.maximum(best, -cutter(p))
        return best

    return field


def placed(field: Field, at: Point = (0, 0, 0), turn: Point = (0, 0, 0)) -> Field:
    """The body turned about x, then y, then z (degrees) and moved to `at`."""
    a, b, c = np.radians(turn)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    back = (about_z @ about_y @ about_x).T.astype(np.float32)
    offset = column(at)
    return lambda p: field(back @ (p - offset))


def baked(field: Field, low: Point, high: Point, *, exact: bool) -> Field:
    """The same body from a table of distances; where `exact`, the field itself answers near the surface."""
    cell = max((np.prod(np.subtract(high, low)) / 1.6e6) ** (1 / 3), 0.01)
    axes = [np.arange(a - cell, b + 2 * cell, cell, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    (nx, ny, nz), stride = (len(axis) for axis in axes), len(axes[1]) * len(axes[2])
    sheet = np.stack([axis.ravel() for axis in np.meshgrid(axes[1], axes[2], indexing="ij")])
    table = np.concatenate([field(np.vstack([np.full((1, sheet.shape[1]), x, np.float32), sheet])) for x in axes[0]])
    origin, inverse = column([axis[0] for axis in axes]), np.float32(1 / cell)
    last = column([nx - 1.01, ny - 1.01, nz - 1.01])

    def between(p: Array) -> Array:
        q = np.clip((p - origin) * inverse, 0, last)
        i = q.astype(np.int32)
        fx, fy, fz = q - i
        k = i[0] * stride + i[1] * nz + i[2]
        rows = []
        for corner in (k, k + nz, k + stride, k + stride + nz):
            near = table[corner]
            rows.append(near + fz * (table[corner + 1] - near))
        front, back = rows[0] + fy * (rows[1] - rows[0]), rows[2] + fy * (rows[3] - rows[2])
        return front + fx * (back - front)

    def refined(p: Array) -> Array:
        d = between(p)
        close = np.flatnonzero(d < 0.3 * cell)
        if close.size:
            d[close] = field(p[:, close])
        return d

    return refined if exact else between


def displaced(field: Field, height: Field, step: float = 0.8) -> Field:
    """The body with its surface raised by `height`; `step` keeps the marcher from overshooting."""
    return lambda p: (field(p) - height(p)) * np.float32(step)
