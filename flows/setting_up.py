"""What every flow begins with: settings, secrets, the results table; and how it is run as a module."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from prefect import Flow
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State
from prefect.exceptions import MissingContextError, ParameterBindError
from prefect.logging import get_run_logger
from prefect.logging.handlers import PrefectConsoleHandler
from pydantic import SecretStr

from flows.final_state import exit_code_of
from reelbatch.errors import ReelbatchError, SettingsError
from reelbatch.ledger import Ledger
from reelbatch.ledger.engine import is_away
from reelbatch.ledger.urls import has_secret, shown
from reelbatch.orchestration.deployed import check_parameters, is_deployed
from reelbatch.orchestration.prefect_server import prefect_api
from reelbatch.pipeline.resources import describe_config, opened_ledger, sandboxed, table_notice, table_shown
from reelbatch.pipeline.run_listener import listening
from reelbatch.printable import Printable, one_line, printable
from reelbatch.retry import RetryPolicy, on_error, retry
from reelbatch.settings import Settings, load_settings, may_hold_secret, typed_results
from reelbatch.settings.config_file import SECRETS, ConfigFile
from reelbatch.settings.table_urls import as_url
from reelbatch.storage.addresses import refuse_in_parameters
from reelbatch.yaml_file import load_yaml

KEY_BLOCK = "magic-hour-api-key"
RESULTS_BLOCK = "reelbatch-results"
_TOLD = "is_in_run_log"


def _is_not_told(record: logging.LogRecord) -> bool:
    return not hasattr(record, _TOLD)


class _ToRunLog(logging.Handler):
    """Passes what the core logs to the log of the run that it works for, if there is one.

    Prefect shows that log on its console, to which the root logger would bring the same a second time.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(MissingContextError):
            get_run_logger().log(record.levelno, "%s", record.getMessage())
            setattr(record, _TOLD, True)
            for handler in logging.getLogger().handlers:
                if isinstance(handler, PrefectConsoleHandler):
                    handler.addFilter(_is_not_told)


# What Prefect writes of a run, its own lines and tracebacks included, holds names, paths and answers from outside.
for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(Printable())
_core = logging.getLogger("reelbatch")
_core.addHandler(_ToRunLog())
_core.setLevel(logging.INFO)

_DATABASE_AWAY = RetryPolicy(attempts=10, wait_s=2)
"""Some minutes: a database that restarts, or a network that comes up after its machines."""
_SETTINGS = ("results", "base_url", "concurrency", "max_credits", "export", "downloads", "repeats")
"""Parameters of the flows that are settings; `overrides` has any others."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a flow works with."""

    settings: Settings
    ledger: Ledger


@asynccontextmanager
async def opened(parameters: Mapping[str, Any], *, must_exist: bool = False) -> AsyncIterator[Opened]:
    """The settings that a flow's parameters make, and the results table; with `sandbox`, while a sandbox runs.

    Raises:
        SettingsError: a setting can't be used, or a parameter holds a secret, which Prefect would keep in the open.
        LedgerUnusable: the table can't be opened, or does not exist although it must.
    """
    options = {name: parameters[name] for name in _SETTINGS if name in parameters}
    options |= parameters.get("overrides") or {}
    refuse_in_parameters(parameters)
    refuse_in_parameters(options)  # by itself: its `manifest` is a section of settings
    _refuse_secrets(options)
    stated = await _settings(parameters["config"], options, sandbox=parameters["sandbox"])
    check_parameters(parameters, stated)
    if not parameters["sandbox"] and not parameters["own_table"]:
        _refuse_own_table(stated)
    if not must_exist and (notice := table_notice(stated)):
        get_run_logger().info(notice)
    with ExitStack() as held:
        settings = held.enter_context(sandboxed(stated, enabled=parameters["sandbox"]))
        ledger = await _table(held, settings, must_exist=must_exist)
        yield Opened(settings, ledger)
    listening.get().finished()


async def _table(held: ExitStack, settings: Settings, *, must_exist: bool) -> Ledger:
    """The results table; a deployment's run, at which no one sits, waits a while for a database that is away."""

    async def attempt() -> Ledger:
        try:
            return held.enter_context(opened_ledger(settings, must_exist=must_exist))
        except ReelbatchError as error:
            if is_worth_waiting(error):
                get_run_logger().warning("The results table is away, and is waited for. %s", one_line(str(error)))
            raise

    def is_worth_waiting(error: Exception) -> bool:
        return is_deployed() and is_away(error)

    return await retry(attempt, _DATABASE_AWAY, on_error(is_worth_waiting))


async def _settings(config: str | None, options: Mapping[str, Any], *, sandbox: bool) -> Settings:
    """The run's settings; what is secret comes from the environment, else from Prefect's Secret blocks.

    The key: MAGIC_HOUR_API_KEY or the block `magic-hour-api-key`. The results table, where no option, setting or
    REELBATCH_RESULTS states one: the block `reelbatch-results`, in a deployment's run. Any other run has the table
    that `plan`, `status` and `reconcile` see, which know nothing of blocks.

    Raises:
        SettingsError: a setting can't be used.
    """
    stated = {**options, "results": options.get("results") or typed_results.get()}
    settings = load_settings(config, stated, sandbox=sandbox, told=_log_config)
    found: dict[str, Any] = {}
    if settings.api_key is None and (key := await _from_block(KEY_BLOCK)):
        found["api_key"] = key
    if _is_own_table(settings) and (url := await _from_block(RESULTS_BLOCK)):
        found["results"] = as_url(url.get_secret_value())
    return settings.model_copy(update=found)


def _log_config(file: ConfigFile) -> None:
    get_run_logger().info(describe_config(file))


def _is_own_table(settings: Settings) -> bool:
    """Whether this is a deployment's run that was told no results table."""
    return is_deployed() and "results" not in settings.model_fields_set


def _refuse_own_table(settings: Settings) -> None:
    """A worker that was told no table would take the default: fine on one machine, dear on two.

    Raises:
        SettingsError: nothing states the table.
    """
    if _is_own_table(settings):
        raise SettingsError(
            f"No results table was stated, and this worker's own is {table_shown(settings)}. Others do not see it, "
            "and would pay for the same rows again. State the table for all of them: REELBATCH_RESULTS, a Secret "
            f"block `{RESULTS_BLOCK}`, or `results` in the config file. On one machine alone the parameter "
            "`own_table: true` is enough."
        )


def _refuse_secrets(options: Mapping[str, Any]) -> None:
    kept = "Prefect keeps parameters where everybody who may look at a run can read them"
    for name, variable in SECRETS.items():
        if options.get(name) is not None:
            raise SettingsError(f"{name}: {kept}; set the environment variable {variable} for the worker instead")
    if (base_url := options.get("base_url")) is not None and may_hold_secret(str(base_url)):
        raise SettingsError(
            f"base_url: holds a user, a password or a query, and {kept}; "
            "state it without: the API asks for its key and no more"
        )
    if (results := options.get("results")) is not None and has_secret(as_url(str(results))):
        raise SettingsError(
            f"results {shown(str(results))}: holds a password, and {kept}; "
            f"set REELBATCH_RESULTS for the worker, or make a Secret block `{RESULTS_BLOCK}`"
        )


async def _from_block(name: str) -> SecretStr | None:
    try:
        block: Secret[Any] = await Secret.aload(name)
    except ValueError:  # Prefect's word for "no such block"
        return None
    return SecretStr(str(block.get()).strip())


async def _run(flow: Any, parameters: Mapping[str, Any]) -> State[Any]:
    state: State[Any] = await flow(**parameters, return_state=True)
    return state


def run_from_command_line(flow: Flow[..., Any]) -> None:
    """`name=value` for each parameter; values as in YAML.

    The exit code is the command line's: 0, 1, 2, 3 or 130.
    """
    parameters = {}
    for argument in sys.argv[1:]:
        name, equals, value = argument.partition("=")
        if not equals:
            _refuse(f'"{one_line(argument)}": state parameters as name=value, for example manifest=catalogue.csv')
        try:
            parameters[name] = load_yaml(Path(name), value.encode(), what="the value")
        except SettingsError as error:
            _refuse(f"{str(error).splitlines()[0]}; put text that has signs in it between quotation marks")
    try:
        with prefect_api():
            state: State[Any] = asyncio.run(_run(flow, parameters))
        if not state.is_completed():
            print(printable(state.message or state.name or ""), file=sys.stderr)  # noqa: T201 - it is the command's output
        sys.exit(exit_code_of(state))
    except ReelbatchError as error:
        _refuse(str(error))
    except ParameterBindError as error:  # no such parameter, or one is missing
        _refuse(str(error).splitlines()[0])


def _refuse(message: str) -> NoReturn:
    print(printable(message), file=sys.stderr)  # noqa: T201 - it is the command's output
    sys.exit(2)
