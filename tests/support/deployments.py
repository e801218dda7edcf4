"""Flow runs as they come to be: of a deployment, or typed by somebody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4


@asynccontextmanager
async def a_run(client: Any, flow: Any, *, deployed: bool) -> AsyncIterator[Any]:
    """A flow run that is still to be made; its deployment goes with it, since others look at this server too."""
    if not deployed:
        yield await client.create_flow_run(flow)
        return
    deployment = await client.create_deployment(await client.create_flow(flow), name=f"test-{uuid4().hex[:8]}")
    try:
        yield await client.create_flow_run_from_deployment(deployment)
    finally:
        await client.delete_deployment(deployment)
