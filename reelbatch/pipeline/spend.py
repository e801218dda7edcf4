"""What was spent, by day, month, model or batch: for the person who pays the account's bill."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from reelbatch.domain import Credits
from reelbatch.errors import SettingsError, UsageError
from reelbatch.home_folder import at_home
from reelbatch.ledger import manifest_lock, spending
from reelbatch.ledger.spending import Wanted
from reelbatch.pipeline.dollars import DollarRate, rate_of
from reelbatch.pipeline.replaced_files import refuse_to_replace
from reelbatch.pipeline.spend_options import By, SpendOptions
from reelbatch.pipeline.spreadsheets import inert
from reelbatch.storage.private_files import replacing

if TYPE_CHECKING:
    from reelbatch.ledger import Ledger
    from reelbatch.settings import Settings

FIGURES = ("estimated", "charged", "refunded", "final", "reserved", "in_doubt", "worst_case", "unknown")
"""Of each line, in credits; `unknown` counts requests of which no one knows what they cost."""
ALL = "in all"


@dataclass(frozen=True, slots=True)
class SpendLine:
    """What one day, month, model or batch has cost."""

    name: str
    credits: Credits

    @property
    def cost(self) -> int:
        """What is known to be spent: charged, refunds taken off."""
        return self.credits.charged - self.credits.refunded


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The lines, and what they add up to. `rate` None: no dollars were stated."""

    options: SpendOptions
    lines: list[SpendLine]
    total: SpendLine
    rate: DollarRate | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        asked = self.options
        return {
            "by": asked.by.value,
            "timezone": asked.timezone,
            "since": _iso(asked.since),
            "until": _iso(asked.until),
            "batch": asked.batch,
            "dollars_per_credit": None if self.rate is None else self.rate.per_credit,
            "lines": [{asked.by.value: line.name, **self._figures(line)} for line in self.lines],
            "total": self._figures(self.total),
        }

    def as_csv(self) -> str:
        """A line for each, with a header and without the total: a spreadsheet adds up itself."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([self.options.by.value, *self._figures(self.total)])
        for line in self.lines:
            figures = ("" if value is None else value for value in self._figures(line).values())
            writer.writerow([inert(line.name), *figures])
        return text.getvalue()

    def _figures(self, line: SpendLine) -> dict[str, Any]:
        known = asdict(line.credits)
        figures = {name: known[name] for name in FIGURES}
        return {**figures, "cost": line.cost, "dollars": None if self.rate is None else self.rate.of(line.cost)}


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def spend(ledger: Ledger, options: SpendOptions, settings: Settings) -> Spend:
    """All batches of the table, archived ones too, or one; every generation counts.

    Raises:
        SettingsError: there is no such time zone, or no day is asked for.
    """
    if options.since and options.until and options.since > options.until:
        raise SettingsError(f"--since {options.since} is after --until {options.until}: there is no day between them")
    zone = zone_of(options.timezone)
    wanted = Wanted(options.batch, _midnight(options.since, zone), _midnight(_day_after(options.until), zone))
    return Spend(
        options=options,
        lines=_lines(ledger, options, wanted, zone),
        total=SpendLine(ALL, ledger.read(partial(spending.total, wanted=wanted))),
        rate=rate_of(settings),
    )


def zone_of(name: str) -> tzinfo:
    """A time zone by its name in the IANA database.

    Raises:
        SettingsError: there is none of this name.
    """
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f'--timezone "{name}": no such time zone. Use a name like Europe/Berlin.') from error


def _lines(ledger: Ledger, options: SpendOptions, wanted: Wanted, zone: tzinfo) -> list[SpendLine]:
    if options.by is By.BATCH:
        named = ledger.read(partial(spending.by_batch, wanted=wanted))
    elif options.by is By.MODEL:
        named = ledger.read(partial(spending.by_model, wanted=wanted))
    else:
        named = _by_period(ledger, options.by, wanted, zone)
    return [SpendLine(name, money) for name, money in named.items() if money != Credits()]


def _by_period(ledger: Ledger, by: By, wanted: Wanted, zone: tzinfo) -> dict[str, Credits]:
    found = ledger.read(partial(spending.span, wanted=wanted))
    if found is None:
        return {}
    days = list(_first_days(by, *(moment.astimezone(zone).date() for moment in found)))
    edges = [edge for day in days if (edge := _midnight(day, zone)) is not None]
    periods = ledger.read(partial(spending.by_period, wanted=wanted, edges=edges))
    return {_named(by, days[number]): money for number, money in periods.items()}


def _first_days(by: By, first: date, last: date) -> Iterator[date]:
    """The first day of each period from that of `first` to that of `last`."""
    day = first.replace(day=1) if by is By.MONTH else first
    while day <= last:
        yield day
        day = (day.replace(day=28) + timedelta(days=4)).replace(day=1) if by is By.MONTH else day + timedelta(days=1)


def _named(by: By, day: date) -> str:
    return f"{day:%Y-%m}" if by is By.MONTH else day.isoformat()


def _day_after(day: date | None) -> date | None:
    return None if day in {None, date.max} else day + timedelta(days=1)


def _midnight(day: date | None, zone: tzinfo) -> datetime | None:
    """When a day begins, in UTC; where clocks skip midnight, with the first moment after it.

    None where that is before the calendar begins or after it ends: no bound.
    """
    try:
        return None if day is None else datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError:
        return None


def write_csv(ledger: Ledger, found: Spend, target: str) -> None:
    """To a file, whole or not at all, its owner's alone where it is new.

    Raises:
        UsageError: it can't be written, or what would be replaced is no earlier CSV.
    """
    path = Path(at_home(target))
    refuse_to_replace(f"--csv {target}", path, partial(ledger.read, manifest_lock.manifests))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(found.as_csv().encode("utf-8"))
    except OSError as error:
        raise UsageError(f"--csv {target}: can't be written: {error.strerror or error}") from error
