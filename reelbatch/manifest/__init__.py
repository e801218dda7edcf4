"""The manifest: CSV, JSON Lines, Parquet or a DataFrame in, checked rows out, streamed."""

from reelbatch.manifest.images import (
    ImageInfo,
    ImageKind,
    ImageProblem,
    ImageUnseen,
    image_kind,
    inspect_image,
    resolve_image,
)
from reelbatch.manifest.options import CheckedRows, Checks, ManifestOptions
from reelbatch.manifest.reading import Manifest, open_manifest

__all__ = [
    "CheckedRows",
    "Checks",
    "ImageInfo",
    "ImageKind",
    "ImageProblem",
    "ImageUnseen",
    "Manifest",
    "ManifestOptions",
    "image_kind",
    "inspect_image",
    "open_manifest",
    "resolve_image",
]
