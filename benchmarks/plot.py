"""The picture of docs/performance.md: throughput and a render window beside peers, and what a row costs by size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OURS, _THEIRS, _LINE, _THIRD = "#0072B2", "#777777", "#D55E00", "#009E73"  # Okabe and Ito: all can tell them apart
_LONG_NAME = 24


def draw(found: Mapping[str, Any], target: Path) -> None:
    """Draw what there is; nothing where only other parts were measured."""
    parts = [name for name in _PANELS if name in found]
    if not parts:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(len(parts), 1, figsize=(7.5, 3.7 * len(parts)), squeeze=False, layout="constrained")
    for axis, name in zip(axes[:, 0], parts, strict=True):
        _PANELS[name](axis, found[name]["data"])
    figure.savefig(target, dpi=120)


def _throughput(axis: Any, data: dict[str, Any]) -> None:
    _bars(axis, {line["sender"]: line["rows/s"] for line in data["late"]}, data["bound"])
    axis.set_xlabel("rows per second")
    axis.set_title("API answers in 200 ms, 100 in flight", loc="left", pad=14)


def _window(axis: Any, data: dict[str, Any]) -> None:
    _bars(axis, {line["who"]: line["videos/h"] for line in data["side by side"]}, data["videos/h at most"])
    axis.set_xlabel("videos an hour")
    axis.set_title(f"Three videos at once, {data['real'].split(',')[0]}", loc="left", pad=14)


def _bars(axis: Any, found: dict[str, float], bound: float) -> None:
    rates = sorted(found.items(), key=lambda each: each[1])
    names = [name if len(name) < _LONG_NAME else name.replace(", ", ",\n", 1) for name, _ in rates]
    colors = [_OURS if name.startswith("reelbatch") else _THEIRS for name in names]
    bars = axis.barh(names, [rate for _, rate in rates], color=colors)
    axis.bar_label(bars, fmt="%.0f", label_type="center", color="white")
    axis.axvline(bound, color=_LINE, linestyle="--", linewidth=1.5)
    axis.text(bound, len(names) - 0.4, "bound ", color=_LINE, ha="right", va="bottom")
    axis.set_xlim(0, bound * 1.12)


def _flat(axis: Any, data: dict[str, Any]) -> None:
    rows = [point["rows"] for point in data["curve"]]
    memory = axis.twinx()
    for on, name, label, style in (
        (axis, "ms/row, whole call", "whole call, ms", {"color": _OURS, "marker": "o"}),
        (axis, "CPU ms/row", "processor time, ms", {"color": _THIRD, "marker": "^"}),
        (memory, "peak MiB", "peak memory, MiB", {"color": _LINE, "marker": "s", "linestyle": ":"}),
    ):
        on.plot(rows, [point[name] for point in data["curve"]], label=label, **style)
    axis.set(xscale="log", xlabel="rows in the manifest", ylabel="for each row")
    axis.set_ylim(bottom=0)
    memory.set_ylabel("MiB")
    memory.set_ylim(0, 2 * max(point["peak MiB"] for point in data["curve"]))
    memory.spines["right"].set_visible(True)
    handles = [*axis.get_lines(), *memory.get_lines()]
    axis.legend(handles, [line.get_label() for line in handles], frameon=False, loc="lower left")
    axis.set_title("Cost of a row, API answers at once", loc="left", pad=14)


_PANELS = {"throughput": _throughput, "window": _window, "flat": _flat}
