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
from reelbatch.errors import ReelbatchError, SettingsError
from reelbatch.ledger.engine import has_secret, shown
from reelbatch.session import Session
from reelbatch.settings import SECRETS, Settings, load_settings

KEY_BLOCK = "magic-hour-api-key"
RESULTS_BLOCK = "reelbatch-results"


async def flow_settings(config: str | None, options: Mapping[str, Any]) -> Settings:
    """The run's settings; what is secret comes from the environment, else from Prefect's Secret blocks.

    The key: MAGIC_HOUR_API_KEY or the block `magic-hour-api-key`. The results table, where no option, setting or
    REELBATCH_RESULTS states one: the block `reelbatch-results`.

    Raises:
        SettingsError: a setting can't be used, or a parameter holds a secret, which Prefect would keep in the open.
    """
    _refuse_secrets(options)
    settings = load_settings(config, options)
    found: dict[str, Any] = {}
    if settings.api_key is None and (key := await _from_block(KEY_BLOCK)):
        found["api_key"] = key
    if "results" not in settings.model_fields_set and (url := await _from_block(RESULTS_BLOCK)):
        found["results"] = url.get_secret_value()
    return settings.model_copy(update=found)


def _refuse_secrets(options: Mapping[str, Any]) -> None:
    kept = "Prefect keeps parameters where everybody who may look at a run can read them"
    for name, variable in SECRETS.items():
        if options.get(name) is not None:
            raise SettingsError(f"{name}: {kept}; set the environment variable {variable} for the worker instead")
    if (results := options.get("results")) is not None and has_secret(str(results)):
        raise SettingsError(
            f"results {shown(str(results))}: holds a password, and {kept}; "
            f"set REELBATCH_RESULTS for the worker, or make a Secret block `{RESULTS_BLOCK}`"
        )


async def _from_block(name: str) -> SecretStr | None:
    try:
        block: Secret[Any] = await Secret.aload(name)
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
