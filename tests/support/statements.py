"""Statements that the tests of a process compile once: SQLAlchemy keeps them by engine, and each test has its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event

_shared: dict[type[Dialect], tuple[Dialect, dict[Any, Any]]] = {}


def share() -> None:
    """From now on they are kept for all engines of one kind: a third of the time of tests of the results table."""
    if not event.contains(Engine, "engine_connect", _share):
        event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    """A statement is known by its dialect too: the first one of its kind, which is set up by now, stands for all."""
    if not connection.dialect.is_async:  # those are Prefect's
        connection.dialect, kept = _shared.setdefault(type(connection.dialect), (connection.dialect, {}))
        connection.execution_options(compiled_cache=kept)
