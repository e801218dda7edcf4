"""What one seed does: the manifest, the processes, the settings, and all that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from simulation.api import ApiFaults
from simulation.books import PRICES, Fates
from simulation.network import NetworkFaults

BUDGET_ZONE = "UTC"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the manifest."""

    row_key: str
    image: str  # `local` is a file that has to be uploaded
    prompt: str
    model: str
    resolution: str
    seconds: int

    @property
    def is_refused(self) -> bool:
        """Whether the API never takes it."""
        return "refused" in self.prompt

    @property
    def credits(self) -> int:
        """What it costs, at the prices of the start."""
        return PRICES[self.model, self.resolution] * self.seconds


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to a machine, the API or a process at some second."""

    at: float
    what: str
    amount: float = 0.0


@dataclass(slots=True, kw_only=True)
class Plan:
    """All of it."""

    seed: int
    lines: list[Line]
    workers: int
    hosts: int
    with_settler: bool
    with_clerk: bool  # a person who clears up doubts, by the books, meanwhile
    webhooks: float  # share of events that arrive at the first try; 0: no receiver
    settings: dict[str, Any]
    api: ApiFaults
    network: NetworkFaults
    fates: Fates
    events: list[Event] = field(default_factory=list)
    faulty_s: float = 1200.0
    balance: int = 1_000_000
    creates_each_s: float | None = None
    kill_rate: float = 0.0
    kills: int = 0
    disk_rate: float = 0.0
    stops: int = 0  # of a process, at points that it passes
    stop_rate: float = 0.02
    stops_at: frozenset[str] = frozenset()
    reruns: bool = False
    regenerates: bool = False
    price_change: float | None = None

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Drawn from the seed. Each fault is there in some seeds only, so that each is seen by itself as well."""
        r = Random(f"plan {seed}")
        if seed == 0:
            return cls._quiet()
        hosts = r.choice((1, 1, 2))
        lines = _manifest(r)
        made = cls(
            seed=seed,
            lines=lines,
            workers=r.choice((1, 1, 2, 2, 3)) if hosts == 1 else r.choice((2, 3)),
            hosts=hosts,
            with_settler=r.random() < 0.3,
            with_clerk=r.random() < 0.5,
            webhooks=r.choice((0.0, 0.0, 0.5, 1.0)),
            settings=_settings(r, lines, hosts),
            api=_api(r),
            network=_network(r),
            fates=_fates(r),
            faulty_s=r.choice((120.0, 300.0, 900.0)),
            creates_each_s=r.choice((None, None, None, 1, 3)),
            reruns=r.random() < 0.25,
            regenerates=r.random() < 0.15,
            price_change=r.choice((None, None, None, None, 1.25, 0.5)),
        )
        if r.random() < 0.1:
            made.balance = r.randint(0, sum(line.credits for line in lines))
        if r.random() < 0.6:
            made.kills, made.kill_rate = r.randint(1, 6), r.choice((0.002, 0.01, 0.05))
        made.stops = r.choice((0, 1, 3)) if hosts > 1 else r.choice((0, 0, 0, 1))
        if r.random() < 0.15:
            made.disk_rate = r.choice((0.005, 0.03))
        made.events = _events(r, made)
        match seed % 8:
            case 1 | 5:
                _outlive(r, made)
            case 2 | 6:
                _be_short_of_money(r, made)
            case 3:
                _crowd_a_window(r, made)
            case 4 if seed % 16 > 8:
                made.fates.dearer = 0.5
        return made

    @classmethod
    def _quiet(cls) -> Plan:
        """Seed 0: one worker, and nothing goes wrong."""
        lines = [
            Line(f"k{n}", "local" if n == 1 else f"https://i.example/{n}.png", f"pan {n}", "ltx-2.3", "480p", 2)
            for n in range(4)
        ]
        return cls(
            seed=0,
            lines=lines,
            workers=1,
            hosts=1,
            with_settler=False,
            with_clerk=False,
            webhooks=0.0,
            settings={"poll_interval_s": 60},
            api=ApiFaults(),
            network=NetworkFaults(),
            fates=Fates(),
            faulty_s=300.0,
        )


def _outlive(r: Random, plan: Plan) -> None:
    """Workers stand still for longer than their lease, others take over, and a person decides meanwhile."""
    plan.hosts, plan.workers, plan.with_clerk, plan.with_settler = 2, r.choice((2, 3)), True, False
    plan.stops, plan.stop_rate, plan.kills, plan.disk_rate = 4, 0.3, 0, 0.0
    plan.stops_at = frozenset({"table.intents.write", "create.answered", "connection.sent", "answer.recorded"})
    plan.lines, plan.faulty_s = plan.lines[:3], 600.0
    plan.settings |= {"lease_s": 12, "doubt_min_age_s": 20, "doubts_in_a_row": 5, "concurrency": r.choice((1, 4))}
    plan.settings.pop("render_window", None)
    kept = (event for event in plan.events if event.what in {"price", "top-up"})
    plan.events = [replace(event, at=min(event.at, plan.faulty_s)) for event in kept]


def _be_short_of_money(r: Random, plan: Plan) -> None:
    """Two or three workers at once, and less than all rows cost."""
    whole = sum(line.credits for line in plan.lines)
    plan.workers = r.choice((2, 3))
    plan.settings |= {"concurrency": r.choice((2, 4)), "max_credits": r.randint(whole // 3, whole)}
    plan.creates_each_s = None


def _crowd_a_window(r: Random, plan: Plan) -> None:
    """More rows at hand than places in the render window, and nothing else that holds them back."""
    plan.workers, plan.creates_each_s = r.choice((1, 2, 3)), None
    plan.settings |= {"render_window": r.choice((1, 2)), "concurrency": r.choice((2, 4)), "poll_interval_s": 10}
    for name in ("max_credits", "budget", "rate_limit"):
        plan.settings.pop(name, None)


def _manifest(r: Random) -> list[Line]:
    lines = []
    for number in range(r.choice((2, 3, 4, 4, 6))):
        model, resolution = r.choice(list(PRICES))
        image = "local" if r.random() < 0.2 else f"https://i.example/{number}.png"
        prompt = f"refused {number}" if r.random() < 0.1 else f"pan {number}"
        lines.append(Line(f"k{number}", image, prompt, model, resolution, 5))
    return lines


def _settings(r: Random, lines: list[Line], hosts: int) -> dict[str, Any]:
    whole = sum(line.credits for line in lines)
    stated: dict[str, Any] = {
        "concurrency": r.choice((1, 2, 4, 40)),
        "lease_s": r.choice((60, 12)) if hosts > 1 else r.choice((60, 60, 60, 12)),
        "doubt_min_age_s": r.choice((300, 20)),
        "request_timeout_s": r.choice((60, 10)),
        "server_errors": r.choice(("retry", "retry", "hold")),
        "doubts_in_a_row": r.choice((2, 5)),
        "retry_attempts": r.choice((2, 5)),
        "identical_rejections": r.choice((2, 20)),
        "poll_interval_s": r.choice((10, 20, 20)),
        "price_drift": r.choice(("warn", "warn", "halt")),
    }
    if r.random() < 0.3:
        stated["max_credits"] = r.randint(whole // 4, whole + 300)
    if r.random() < 0.2:
        most = max(line.credits for line in lines)
        stated["budget"] = {"credits": r.randint(most, whole + 300), "per": "day", "timezone": BUDGET_ZONE}
    if r.random() < 0.1:
        stated |= {"render_window": r.choice((1, 2)), "poll_interval_s": 10}
    if r.random() < 0.2:
        stated["rate_limit"] = r.choice((0.5, 3.0))
    return stated


def _some(r: Random, chance: float, *shares: float) -> float:
    return r.choice(shares) if r.random() < chance else 0.0


def _api(r: Random) -> ApiFaults:
    return ApiFaults(
        refused_before=_some(r, 0.4, 0.1, 0.4),
        unclear=_some(r, 0.2, 0.1, 0.3),
        no_id=_some(r, 0.15, 0.1, 0.3),
        id_in_refusal=_some(r, 0.2, 0.1, 0.4),
        odd_figure=_some(r, 0.1, 0.2),
        questions=_some(r, 0.3, 0.1, 0.5),
    )


def _network(r: Random) -> NetworkFaults:
    return NetworkFaults(
        refused=_some(r, 0.3, 0.1, 0.4),
        hanging=_some(r, 0.2, 0.1),
        write_refused=_some(r, 0.3, 0.1, 0.3),
        lost_before=_some(r, 0.3, 0.1, 0.3),
        lost_after=_some(r, 0.4, 0.1, 0.3),
        half=_some(r, 0.3, 0.1, 0.3),
        slow=_some(r, 0.2, 0.03, 0.1),
        latency_s=r.choice((0.01, 0.05, 0.5)),
    )


def _fates(r: Random) -> Fates:
    return Fates(
        error=_some(r, 0.4, 0.2, 0.5),
        canceled=_some(r, 0.2, 0.2),
        unrefunded=_some(r, 0.2, 0.5),
        odd=_some(r, 0.2, 0.3),
        cheaper=_some(r, 0.3, 0.5, 1.0),
    )


def _events(r: Random, plan: Plan) -> list[Event]:
    """Within the faulty time."""
    found = []
    for _ in range(r.choice((0, 0, 1, 2, 4)) + 2 * (plan.hosts - 1)):
        at = r.choice((r.uniform(0, 15), r.uniform(0, min(plan.faulty_s, 300))))
        kind = r.choice(("stop", "suspend", "suspend", "jump", "kill", "interrupt", "outage"))
        if kind in {"stop", "suspend", "outage"}:
            found.append(Event(at, kind, r.choice((5.0, 25.0, 70.0, 200.0, 4000.0))))
        elif kind == "jump" and plan.hosts == 1 and "budget" not in plan.settings:
            found.append(Event(at, kind, r.choice((-7200.0, -30.0, 45.0, 7200.0))))
        elif kind in {"kill", "interrupt"}:
            found.append(Event(at, kind))
    if any(line.image == "local" for line in plan.lines) and r.random() < 0.5:
        found.append(Event(r.uniform(0, 60), "suspend", 8 * 86_400.0))
    if plan.price_change is not None:
        found.append(Event(r.uniform(0, 20), "price", plan.price_change))
    if plan.balance < 1_000_000:
        found.append(Event(plan.faulty_s, "top-up", 1_000_000))
    return sorted(found, key=lambda event: event.at)
