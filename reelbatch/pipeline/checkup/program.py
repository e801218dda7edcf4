"""The interpreter, the packages, and what the environment says of proxies and certificates."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from urllib.request import getproxies

from packaging.requirements import Requirement

from reelbatch.client import ssl_context
from reelbatch.pipeline.checkup.checks import Check, Health, ok, problem
from reelbatch.storage.files import redact_url

_OLDEST = (3, 11)
_NOT_FOR_RUNS = frozenset({"build"})
"""Extras that nobody needs to run anything."""
_PROXIES = ("http", "https", "all")


def interpreter() -> Iterator[Check]:
    """Python itself."""
    found = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < _OLDEST:
        yield problem("interpreter", found, "Use Python 3.11 or newer.")
    else:
        yield ok("interpreter", found)


def packages() -> Iterator[Check]:
    """Each package that is needed, in a version that will do; then the extras."""
    stated = [Requirement(line) for line in distribution("reelbatch").requires or []]
    needed = [each for each in stated if each.marker is None or each.marker.evaluate({"extra": ""})]
    if wrong := [words for each in needed if (words := _wrong(each)) is not None]:
        yield problem("packages", ", ".join(wrong), "python -m pip install --require-hashes -r requirements.lock")
    else:
        yield ok("packages", f"reelbatch {version('reelbatch')} and the {len(needed)} packages that it needs")
    yield from _extras([each for each in stated if each not in needed])


def _wrong(needed: Requirement) -> str | None:
    found = _version(needed.name)
    if found is None:
        return f"{needed.name} is missing"
    fits = needed.specifier.contains(found, prereleases=True)
    return None if fits else f"{needed.name} is {found}, and should be {needed.specifier}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extras(optional: list[Requirement]) -> Iterator[Check]:
    names = distribution("reelbatch").metadata.get_all("Provides-Extra") or []
    there: list[str] = []
    absent: list[str] = []
    for name in (name for name in names if name not in _NOT_FOR_RUNS):
        own = [each for each in optional if each.marker and each.marker.evaluate({"extra": name})]
        (absent if any(_wrong(each) for each in own) else there).append(name)
    if there:
        yield ok("extras", f"installed: {', '.join(there)}")
    if absent:
        remedy = f"Where you need one: python -m pip install 'reelbatch[{absent[0]}]'"
        yield Check("extras", Health.ABSENT, f"not installed: {', '.join(absent)}", remedy)


def proxies() -> Iterator[Check]:
    """Which proxies are used, and whether the certificates can be read."""
    ssl_context()
    stated = getproxies()
    used = [f"{scheme}: {redact_url(stated[scheme])}" for scheme in _PROXIES if stated.get(scheme)]
    exempt = f", not for {stated['no']}" if used and stated.get("no") else ""
    yield ok("proxies", f"{', '.join(used)}{exempt}" if used else "none")
    if bundle := os.environ.get("SSL_CERT_FILE"):
        yield ok("certificates", f"SSL_CERT_FILE: {bundle}")
