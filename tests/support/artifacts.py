"""What a flow run leaves in Prefect's UI; other runs on the same server leave artifacts of the same keys."""

from __future__ import annotations

from typing import Any


async def artifacts_of(state: Any) -> dict[str, Any]:
    """The artifacts of the run that ended in `state`, by key."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    async with get_client() as client:
        return {str(artifact.key): artifact for artifact in await client.read_artifacts(flow_run_filter=chosen)}
