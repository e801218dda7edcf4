"""Bulk image-to-video over the Magic Hour API: every row of a manifest is paid for exactly once.

From Python: `plan` and `generate` for a manifest or a table in memory, `settle`, `status`, `rerun`, `reconcile` and
`export` for what comes after, `results` for the table, `create` for one video, `Client` for asynchronous code.
Everything is imported on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelbatch.api import create, export, generate, plan, reconcile, rerun, settle, status
    from reelbatch.client import Account, Client, ClientOptions, Created, Video
    from reelbatch.pipeline.export import results

__all__ = [
    "Account",
    "Client",
    "ClientOptions",
    "Created",
    "Video",
    "create",
    "export",
    "generate",
    "plan",
    "reconcile",
    "rerun",
    "results",
    "settle",
    "status",
]

_HOMES = {
    "Account": "reelbatch.client",
    "Client": "reelbatch.client",
    "ClientOptions": "reelbatch.client",
    "Created": "reelbatch.client",
    "Video": "reelbatch.client",
    "results": "reelbatch.pipeline.export",
}
"""Of all else that is offered: `reelbatch.api`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'reelbatch' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "reelbatch.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `reelbatch.settle` a function: Python would put the room of this name there when that is imported."""

    @property
    def settle(self) -> Any:
        """Follow videos to their end."""
        return __getattr__("settle")

    @settle.setter
    def settle(self, room: ModuleType) -> None:
        """The room is found by `from reelbatch.settle import …` all the same."""


sys.modules[__name__].__class__ = _Package
