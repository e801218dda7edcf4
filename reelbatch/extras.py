"""Packages that only some parts need: each group is an extra of the package, and is named where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from reelbatch.errors import UsageError

EXTRAS: dict[str, tuple[str, ...]] = {
    "excel": ("openpyxl",),
    "heic": ("pillow_heif",),
    "postgres": ("psycopg",),
    "review": ("jinja2", "starlette", "uvicorn"),
    "sandbox": ("av", "pillow_heif", "starlette", "uvicorn"),
    "video": ("av",),
    "webhooks": ("starlette", "uvicorn"),
    "s3": ("s3fs",),
    "gcs": ("gcsfs",),
    "azure": ("adlfs",),
}
"""The packages that each extra installs, by the names under which they are imported."""


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed here."""
    return [package for package in EXTRAS[extra] if find_spec(package) is None]


def remedy(extra: str) -> str:
    """How to install an extra."""
    return f'Install it: pip install "reelbatch[{extra}]"'


def require(extra: str, what: str) -> None:
    """Stop before `what` is begun where its packages are not installed.

    Raises:
        UsageError: one of them is not; it names them and how to install them.
    """
    if packages := missing(extra):
        verb = "which is" if len(packages) == 1 else "which are"
        raise UsageError(f"{what} needs {', '.join(packages)}, {verb} not installed here. {remedy(extra)}")
