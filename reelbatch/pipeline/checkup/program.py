"""The interpreter, the packages, and what the environment says of proxies and certificates."""

from __future__ import annotations

import operator
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import NamedTuple, Self
from urllib.request import getproxies

from reelbatch.client import ssl_context
from reelbatch.extras import EXTRAS, missing, remedy
from reelbatch.pipeline.checkup.checks import Check, Health, ok, problem
from reelbatch.storage.files import redact_url

_OLDEST = (3, 11)
_PROXIES = ("http", "https", "all")


def interpreter() -> Iterator[Check]:
    """Python itself."""
    found = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < _OLDEST:
        yield problem("interpreter", found, "Use Python 3.11 or newer.")
    else:
        yield ok("interpreter", found)


def packages() -> Iterator[Check]:
    """Each package that every run needs, in a version that works; then the extras."""
    needed = [found for line in distribution("reelbatch").requires or [] if (found := Needed.of(line)) is not None]
    if wrong := [words for each in needed if (words := each.objection()) is not None]:
        yield problem("packages", ", ".join(wrong), "python -m pip install --require-hashes -r requirements.lock")
    else:
        yield ok("packages", f"reelbatch {version('reelbatch')} and the {len(needed)} packages that it needs")
    absent = [extra for extra in EXTRAS if missing(extra)]
    if there := [extra for extra in EXTRAS if extra not in absent]:
        yield ok("extras", f"installed: {', '.join(there)}")
    if absent:
        yield Check("extras", Health.ABSENT, f"not installed: {', '.join(absent)}", remedy(absent[0]))


class Needed(NamedTuple):
    """A package, and the bounds of its version: `>=`, `<` or `==`, and numbers between dots."""

    name: str
    bounds: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, stated: str) -> Self | None:
        """As the metadata of a package states it; None: it is an extra's."""
        package, _, marker = stated.partition(";")
        if "extra" in marker:
            return None
        return cls(re.split(r"[^\w.-]", package, maxsplit=1)[0], tuple(_BOUND.findall(package)))

    def objection(self) -> str | None:
        """What is wrong with what is installed."""
        try:
            found = version(self.name)
        except PackageNotFoundError:
            return f"{self.name} is missing"
        fits = all(_COMPARED[sign](_numbers(found), _numbers(bound)) for sign, bound in self.bounds)
        wanted = ",".join(f"{sign}{bound}" for sign, bound in self.bounds)
        return None if fits else f"{self.name} is {found}, and should be {wanted}"


_BOUND = re.compile(r"(>=|==|<)\s*([\d.]+)")
_COMPARED = {">=": operator.ge, "==": operator.eq, "<": operator.lt}


def _numbers(stated: str) -> tuple[int, ...]:
    """`2.0.40` as (2, 0, 40); what follows the numbers does not count."""
    numbers = [int(part) for part in re.split(r"[^\d.]", stated, maxsplit=1)[0].split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def proxies() -> Iterator[Check]:
    """Which proxies are used, and whether the certificates can be read."""
    ssl_context()
    stated = getproxies()
    used = [f"{scheme}: {redact_url(stated[scheme])}" for scheme in _PROXIES if stated.get(scheme)]
    exempt = f", not for {stated['no']}" if used and stated.get("no") else ""
    yield ok("proxies", f"{', '.join(used)}{exempt}" if used else "none")
    if bundle := os.environ.get("SSL_CERT_FILE"):
        yield ok("certificates", f"SSL_CERT_FILE: {bundle}")
