"""The manifest: CSV, JSON Lines, Parquet or a DataFrame in, checked rows out, streamed."""

from reelbatch.images.inspect import (
    ImageInfo,
    ImageKind,
    ImageProblem,
    ImageUnseen,
    image_kind,
    inspect_image,
    resolve_image,
)
from reelbatch.manifest.manifest import Manifest, open_manifest
from reelbatch.manifest.options import CheckedRows, Checks, ManifestOptions
from reelbatch.manifest.readers.base import ArrowStream

__all__ = [
    "ArrowStream",
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
