"""Dockerfile and docker-compose.yml, as far as they can be checked where no containers run."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from pip._internal.commands import create_command
from typed import problems

from reelbatch.ledger.urls import has_secret, parse_url
from reelbatch.settings import Settings
from reelbatch.settings.config_file import SECRETS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_FILE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
MANY_MACHINES = (ROOT / "docs" / "many-machines.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NEEDED = {  # what a service can wait for, and what it takes for that
    "service_started": bool,
    "service_healthy": lambda service: "healthcheck" in service,
    "service_completed_successfully": lambda service: service["restart"] == "no",
}


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of this name."""
    whole = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in whole.splitlines() if line.startswith(f"{name} ")]


def image_commands() -> Iterator[list[str]]:
    """The image's own command, and those that the services run in it."""
    yield yaml.safe_load(instructions("CMD")[0])
    for service in SERVICES.values():
        if "build" in service and "command" in service:
            yield from simple_commands(service["command"])


def simple_commands(command: list[str]) -> list[list[str]]:
    """What a shell would run, where one is asked to."""
    if command[:2] != ["sh", "-c"]:
        return [command]
    return [shlex.split(part) for part in command[2].split("&&")]


@pytest.mark.parametrize("command", list(image_commands()), ids=" ".join)
def test_commands_and_options_exist(command: list[str]) -> None:
    """Every command of the image is one that the installed Prefect takes, with these options."""
    assert command[0] == "prefect"
    assert problems(shlex.join(command)) == []


def test_what_the_image_installs_pip_can_read() -> None:
    """By its own parser; the lock has its hashes, and what builds the package without the network."""
    lines = [words for line in instructions("RUN") for words in simple_commands(["sh", "-c", line])]
    installs = [words[2:] for words in lines if words[:2] == ["pip", "install"]]
    stated = [create_command("install").parse_args(words)[0] for words in installs]
    assert [(options.require_hashes, options.requirements, options.editables) for options in stated] == [
        (True, ["requirements.lock"], []),
        (False, [], ["."]),
    ]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)
    assert {"hatchling", "editables", "prefect", "psycopg"} <= set(pinned)
    assert len(re.findall(r"^[\w.-]+==.*?--hash=sha256:", lock, re.MULTILINE | re.DOTALL)) == len(pinned)


def test_a_shell_can_read_what_is_for_a_shell() -> None:
    """The lines of RUN, what the services hand to `sh -c`, and the Python of a health check."""
    lines = instructions("RUN") + [
        each["command"][2] for each in SERVICES.values() if "sh" in each.get("command", [])
    ]
    assert len(lines) == 4
    for line in lines:
        subprocess.run(["sh", "-n", "-c", line], check=True)
    compile(SERVICES["server"]["healthcheck"]["test"][-1], "health check", "exec")


def test_services_wait_for_what_there_is() -> None:
    """Whatever a service depends on is a service, and can become what is waited for."""
    assert set(SERVICES) == {"database", "server", "deploy", "worker"}
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert NEEDED[how["condition"]](SERVICES[other]), f"{name} waits for {other}"
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_volumes_are_declared() -> None:
    """Named volumes are named below, and every one that is named is used."""
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount[0] for mount in mounts if re.fullmatch(r"[a-z]+", mount[0])}
    assert named == set(COMPOSE["volumes"])
    assert SERVICES["database"]["volumes"] == ["database:/var/lib/postgresql"]  # where Postgres 18 keeps its data


def test_the_folders_of_volumes_belong_to_the_user() -> None:
    """A new volume takes its owner from the image: the user of the image can write where it has to."""
    made = " ".join(instructions("RUN"))
    places = {**dict(item.split("=") for item in instructions("ENV")[0].split())}
    folders = re.search(r"--owner=\w+ (.*)", made)
    assert folders
    owned = {places.get(word.strip('"$'), word) for word in folders[1].split()}
    for name in ("server", "worker"):
        for mount in SERVICES[name]["volumes"]:
            target, _, how = mount.partition("}:" if "${" in mount else ":")[2].partition(":")
            assert target in owned or how == "ro", f"{name}: {target}"
    assert instructions("USER") == re.findall(r"--uid (\d+)", made)


def test_settings_exist() -> None:
    """A variable of ours in a service's environment is a setting's; one of Prefect's is Prefect's."""
    from prefect.settings import Settings as PrefectSettings
    from prefect.settings.legacy import _get_settings_fields

    known = {f"REELBATCH_{name}".upper() for name in Settings.model_fields} | set(SECRETS.values())
    of_prefect = set(_get_settings_fields(PrefectSettings))
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert name in known or name in of_prefect or name.startswith(("POSTGRES_", "PG")) or name == "PWD", name


def test_workers_use_the_database_and_the_server_of_the_file() -> None:
    """Hosts are services, users and databases those that are made, and there is one password for both sides."""
    worker, database = SERVICES["worker"]["environment"], SERVICES["database"]["environment"]
    results = parse_url(worker["REELBATCH_RESULTS"])
    assert results.host in SERVICES
    assert (results.username, results.database) == (database["POSTGRES_USER"], database["POSTGRES_DB"])
    assert worker["PGPASSWORD"] == database["POSTGRES_PASSWORD"]
    server = re.fullmatch(r"http://(\w+):(\d+)/api", worker["PREFECT_API_URL"])
    assert server
    host, port = server.groups()
    assert SERVICES[host]["command"][-1] == port
    assert worker["PREFECT_API_AUTH_STRING"] == SERVICES[host]["environment"]["PREFECT_SERVER_API_AUTH_STRING"]


async def test_runs_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    """A run whose place in `concurrency_limit` the server has forgotten is ended by Prefect: places are on disk."""
    module = SERVICES["server"]["environment"]["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    assert f"export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={module}\n" in MANY_MACHINES
    storage = import_module(module).ConcurrencyLeaseStorage
    lease = await storage(tmp_path).create_lease([uuid4()], timedelta(minutes=5))
    assert await storage(tmp_path).read_lease(lease.id) is not None


def test_no_secret_and_no_host_is_written_down() -> None:
    """Passwords and keys are taken from the environment, and one that has to be there is asked for."""
    assert not has_secret(SERVICES["worker"]["environment"]["REELBATCH_RESULTS"])
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|AUTH|SECRET", name):
                assert value is None or re.fullmatch(r"\$\{\w+:\?[\w ,:]+\}", value), name
    whole = DOCKERFILE + COMPOSE_FILE
    assert not re.search(r"://\w+:\w+@", whole)
    assert set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", whole)) <= {"0.0.0.0", "127.0.0.1"}  # noqa: S104 - in a container
    assert not [line for line in instructions("ENV") + instructions("ARG") if re.search("KEY|PASSWORD|SECRET", line)]


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    """Sources exist, .dockerignore lets them through, and the package needs no other."""
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    let_through = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == let_through
    assert [source for source in copied if not (ROOT / source).exists()] == []
    packages = {"reelbatch", "flows", "tasks", "configs"}
    assert packages | {"pyproject.toml", "prefect.yaml", "requirements.lock"} <= copied


def test_one_folder_everywhere() -> None:
    """`prefect deploy` writes down its folder, and workers look for the code there."""
    assert SERVICES["deploy"]["environment"]["PWD"] == instructions("WORKDIR")[0]
    assert not [name for name, service in SERVICES.items() if "working_dir" in service]
    assert any("--require-hashes" in line for line in instructions("RUN"))
