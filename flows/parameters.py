"""The parameters of the flows, as Prefect's form has them: with their limits and choices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reelbatch.domain import MOST_CREDITS, MOST_ROWS

Concurrency = Annotated[int | None, Field(ge=1, le=1000)]
Credits = Annotated[int | None, Field(ge=0, le=MOST_CREDITS)]
Limit = Annotated[int | None, Field(ge=0, le=MOST_ROWS)]
RegenerateChoice = Literal["none", "changed", "all", "cancel"]
RepeatsChoice = Literal["hold", "send", "skip"] | None
StatesChoice = list[Literal["rejected", "error", "canceled", "in_doubt"]] | None
VerdictChoice = Literal["rejected"] | None
