"""What every flow begins and ends with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import yaml
from prefect import Flow
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import SecretStr

from flows.server import prefect_api
from reelbatch.errors import ReelbatchError
from reelbatch.session import Session
from reelbatch.settings import Settings, load_settings

KEY_BLOCK = "magic-hour-api-key"


async def flow_settings(config: str | None, options: Mapping[str, Any]) -> Settings:
    """The run's settings; the key comes from the environment, else from the Secret block `magic-hour-api-key`."""
    settings = load_settings(config, options)
    if settings.api_key is None and (key := await _key_from_block()):
        return settings.model_copy(update={"api_key": key})
    return settings


async def _key_from_block() -> SecretStr | None:
    try:
        block: Secret[Any] = await Secret.aload(KEY_BLOCK)
    except ValueError:  # Prefect's word for "no such block"
        return None
    return SecretStr(str(block.get()))


def final_state(session: Session) -> State[Any]:
    """Failed where the run was halted, so that a schedule shows red; otherwise completed, with the counts."""
    report = session.report
    if session.export_problem is not None:
        return Failed(message=f"the rows were sent, but the table was not exported: {session.export_problem}")
    if report is None:
        return Failed(message="the run ended without a report")
    message = f"{report.submitted} of {report.status.rows} rows got their id in this run"
    if report.exit_code in {0, 1}:
        return Completed(message=message)
    return Failed(message=f"{report.exit_reason.value}: {report.message or message}")


async def _run(flow: Any, parameters: Mapping[str, Any]) -> State[Any]:
    state: State[Any] = await flow(**parameters, return_state=True)
    return state


def run_from_command_line(flow: Flow[..., Any]) -> None:
    """`name=value` for each parameter; values as in YAML. Exit codes as those of the command line."""
    parameters = {}
    for argument in sys.argv[1:]:
        name, equals, value = argument.partition("=")
        if not equals:
            sys.exit(f'"{argument}": state parameters as name=value, for example manifest=catalogue.csv')
        parameters[name] = yaml.safe_load(value)
    try:
        with prefect_api():
            state: State[Any] = asyncio.run(_run(flow, parameters))
        sys.exit(0 if state.is_completed() else 3)
    except ReelbatchError as error:
        sys.exit(str(error))
