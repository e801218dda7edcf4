"""From samples to a picture file: rendering loop, noise filter, tone curve, saving."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from draw.fields import Array
from draw.studio import Scene
from draw.trace import Tracer
from PIL import Image

CHUNK = 65_536  # rays at once: the arrays of one chunk stay in the processor's cache


@dataclass
class Film:
    """Sums over samples, each (3, pixels)."""

    paint: Array
    lit: Array
    rest: Array
    guide: Array  # normal and distance, (4, pixels)


def expose(scene: Scene, samples: int) -> Film:
    """Average of `samples` samples for every pixel."""
    count = scene.size[0] * scene.size[1]
    film = Film(*(np.zeros((rows, count), np.float32) for rows in (3, 3, 3, 4)))
    tracer = Tracer(scene, samples)
    for tracer.sample in range(samples):
        for first in range(0, count, CHUNK):
            pixel = np.arange(first, min(first + CHUNK, count))
            seen = tracer.see(tracer.camera_rays(pixel), 0)
            film.paint[:, pixel] += seen.paint
            film.lit[:, pixel] += np.minimum(seen.paint * seen.light, 6)
            film.rest[:, pixel] += np.minimum(seen.rest, 6)
            film.guide[:3, pixel] += seen.normal
            film.guide[3, pixel] += seen.away
    return Film(*(sums / samples for sums in (film.paint, film.lit, film.rest, film.guide)))


def smooth(image: Array, guide: Array, levels: int, tolerance: float) -> Array:
    """Edge-aware wavelet filter: averages neighbours that share normal and distance. Arrays are (rows, h, w)."""
    kernel = (1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16)
    for level in range(levels):
        reach = 2**level
        pad = ((0, 0), (2 * reach, 2 * reach), (2 * reach, 2 * reach))
        wide, around = np.pad(image, pad, "edge"), np.pad(guide, pad, "edge")
        total, weights = np.zeros_like(image), np.zeros(image.shape[1:], np.float32)
        for i, a in enumerate(kernel):
            for j, b in enumerate(kernel):
                window = np.s_[:, i * reach : i * reach + image.shape[1], j * reach : j * reach + image.shape[2]]
                differs = ((around[window] - guide) ** 2).sum(0)
                tone = ((np.sqrt(wide[window]) - np.sqrt(image)) ** 2).sum(0) / np.float32(tolerance / 2**level)
                weight = np.float32(a * b) * np.exp(-differs * 60 - tone)
                total += wide[window] * weight
                weights += weight
        image = total / weights
    return image


def develop(scene: Scene, film: Film) -> Image.Image:
    """Filter noise, apply exposure and a film-like tone curve, encode as sRGB."""
    width, height = scene.size

    def grid(rows: Array) -> Array:
        return rows.reshape(len(rows), height, width)

    guide = grid(film.guide)
    paint = grid(film.paint)
    light = grid(film.lit) / np.maximum(paint, 1e-3)
    linear = smooth(light, guide, 4, 0.15) * np.maximum(paint, 1e-3)
    linear += smooth(grid(film.rest), np.vstack([guide, paint]), 2, 0.03)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    linear *= np.float32(scene.exposure) * (1 - 0.13 * (x * x + y * y)).astype(np.float32)
    return Image.fromarray((encode(linear).transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))


def encode(linear: Array) -> Array:
    """Linear light to display values with a soft shoulder; bright colours bleed towards white."""
    peak = linear.max(0)
    over = np.clip((peak - 0.8) / 3, 0, 1) * 0.6
    linear = linear + (peak - linear) * over
    knee = 0.55
    curved = np.where(linear < knee, linear, knee + (1 - knee) * (1 - np.exp(-(linear - knee) / (1 - knee))))
    return np.clip(
        np.where(curved < 0.0031308, curved * 12.92, 1.055 * np.maximum(curved, 1e-6) ** (1 / 2.4) - 0.055), 0, 1
    )


def save(image: Image.Image, path: Path) -> None:
    """JPEG and WebP with moderate compression, PNG without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        image.save(path, optimize=True)
    elif path.suffix == ".webp":
        image.save(path, quality=90, method=6)
    else:
        image.save(path, quality=90, optimize=True, progressive=True)
