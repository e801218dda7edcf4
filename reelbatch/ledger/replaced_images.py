"""A local image that was replaced under its old name: its row is another request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, literal_column, select, update

from reelbatch.domain import Batch
from reelbatch.ledger.paid_requests import Mark
from reelbatch.ledger.schema import generations
from reelbatch.ledger.selection import Choice
from reelbatch.ledger.staging import joined, staged


def mark_replaced(connection: Connection, batch: Batch, choice: Choice, of_image: Mark) -> None:
    """Note the images of staged rows whose bytes are others than those that were sent.

    Size and time of change are looked at first, the bytes only where they differ.
    """
    files: Select[Any] = select(literal_column("1")).where(staged.c.image_stat.is_not(None)).limit(1)
    if connection.execute(files).first() is None:
        return
    g = generations.c
    query = (
        select(staged.c.row_number, staged.c.image_path, staged.c.end_image_path, g.image_sha256)
        .select_from(joined(batch, choice))
        .where(g.image_sha256.is_not(None), staged.c.problem.is_(None), staged.c.image_stat.is_not(None))
        .where(g.image_stat.is_distinct_from(staged.c.image_stat))
    )
    for number, image, end_image, known in connection.execute(query).all():
        marks = [of_image(stated) for stated in (image, end_image) if stated]
        if None not in marks and (now := joined_marks(marks)) != known:
            row = update(staged).where(staged.c.row_number == number)
            connection.execute(row.values(image_sha256=now))


def joined_marks(marks: Sequence[str | None]) -> str:
    """What a line keeps of its images: what stands for each, the end image last."""
    return " ".join(mark or "" for mark in marks)
