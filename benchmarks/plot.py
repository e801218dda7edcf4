"""The picture that the README shows: throughput beside its peers, and what a row costs from small to large."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_OURS, _THEIRS, _LINE, _THIRD = "#0072B2", "#999999", "#D55E00", "#009E73"  # Okabe and Ito: told apart by everybody


def draw(results: Path) -> Path | None:
    """Draw what there is into a PNG beside `results`; None where there is nothing to draw."""
    found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    parts = [(draw_one, found[name]["data"]) for name, draw_one in _PANELS if name in found]
    if not parts:
        return None
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(len(parts), 1, figsize=(7.5, 4.1 * len(parts)), squeeze=False, layout="constrained")
    for axis, (draw_one, data) in zip(axes[:, 0], parts, strict=True):
        draw_one(axis, data)
    target = results.with_suffix(".png")
    figure.savefig(target, dpi=120)
    plt.close(figure)
    return target


def _throughput(axis: Any, data: dict[str, Any]) -> None:
    lines = sorted((line for line in data["late"] if line["rows/s"]), key=lambda line: line["rows/s"])
    names = [line["sender"] for line in lines]
    rates = [line["rows/s"] for line in lines]
    colors = [_OURS if name.startswith("reelbatch") else _THEIRS for name in names]
    bars = axis.barh(names, rates, color=colors)
    axis.bar_label(bars, [f"{rate:.0f}" for rate in rates], padding=4, bbox={"color": "white", "pad": 1})
    axis.axvline(data["bound"], color=_LINE, linestyle="--", linewidth=1.5)
    axis.text(data["bound"], len(names) - 0.4, "bound ", color=_LINE, ha="right", va="bottom")
    axis.set_xlim(0, data["bound"] * 1.12)
    axis.set_xlabel("rows per second")
    axis.set_title("API answers in 200 ms, 100 in flight", loc="left", pad=14)


def _flat(axis: Any, data: dict[str, Any]) -> None:
    curve = data["curve"]
    rows = [point["rows"] for point in curve]
    for name, label, color, mark in (
        ("ms/row, whole call", "whole call, ms", _OURS, "o"),
        ("CPU ms/row", "processor time, ms", _THIRD, "^"),
    ):
        axis.plot(rows, [point[name] for point in curve], color=color, marker=mark, label=label)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("rows in the manifest")
    axis.set_ylabel("for each row")
    memory = axis.twinx()
    memory.plot(
        rows, [point["peak MiB"] for point in curve], color=_LINE, marker="s", linestyle=":", label="peak memory, MiB"
    )
    memory.set_ylim(0, 2 * max(point["peak MiB"] for point in curve))
    memory.set_ylabel("MiB")
    memory.spines["right"].set_visible(True)
    handles = [*axis.get_lines(), *memory.get_lines()]
    axis.legend(handles, [line.get_label() for line in handles], frameon=False, loc="lower left")
    axis.set_title("Cost of a row, API answers at once", loc="left", pad=14)


_PANELS = (("throughput", _throughput), ("flat", _flat))
