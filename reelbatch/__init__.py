"""Bulk image-to-video over the Magic Hour API: every row of a manifest is paid for exactly once.

From Python: `generate` for a manifest or DataFrame, `create` for one video, `results` for the table, `Client` for
asynchronous code. Everything is imported on first use.
"""

from __future__ import annotations

TYPE_CHECKING = False  # without `typing`, whose import would keep a command from hearing Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from reelbatch.api import create, generate
    from reelbatch.client import Account, Client, ClientOptions, Created, Video
    from reelbatch.pipeline.export import results

__all__ = ["Account", "Client", "ClientOptions", "Created", "Video", "create", "generate", "results"]

_HOMES = {
    "Account": "reelbatch.client",
    "Client": "reelbatch.client",
    "ClientOptions": "reelbatch.client",
    "Created": "reelbatch.client",
    "Video": "reelbatch.client",
    "create": "reelbatch.api",
    "generate": "reelbatch.api",
    "results": "reelbatch.pipeline.export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reelbatch' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
