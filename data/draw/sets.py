"""What several scenes share: picture sizes, the usual lights, common materials."""

from draw.paints import Paint, plain
from draw.studio import Light, Material

LANDSCAPE, PORTRAIT, SQUARE = (768, 512), (512, 768), (640, 640)
KEY = Light((-4.2, 4.6, 3.4), (1.5, 1.5), power=0.85, colour=(1, 0.96, 0.9))
RIM = Light((4.6, 3.0, 0.6), (0.5, 1.8), power=0.28, colour=(0.9, 0.95, 1))
BRASS = Material(plain("dcae62"), rough=0.28, metal=True)
STEEL = Material(plain("c9c7c2"), rough=0.3, metal=True)


def glaze(paint: Paint, shine: float = 0.05, rough: float = 0.12) -> Material:
    """Glazed ceramic."""
    return Material(paint, shine=shine, rough=rough)


def satin(paint: Paint) -> Material:
    """Oiled wood or powder-coated metal: a broad, weak shine."""
    return Material(paint, shine=0.035, rough=0.5)
