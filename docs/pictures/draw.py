"""Draws the pictures of docs/architecture.md: the states of a row, from the core's own table, and the way of a row.

python docs/pictures/draw.py      writes states.svg and row.svg beside this file
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import NamedTuple

from reelbatch.domain.states import TRANSITIONS, RowState

HERE = Path(__file__).parent
WIDTH, HEIGHT = 108, 34
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1c2330; text-anchor: middle; dominant-baseline: central }
  .small { font-size: 12px; fill: #55607a } .left { text-anchor: start } .strong { font-weight: 600 }
  rect { rx: 8; fill: #eef2fb; stroke: #3b5bdb; stroke-width: 1.4 }
  .end rect { fill: #e6f5ec; stroke: #2b8a57 } .bad rect { fill: #fdecec; stroke: #c92a2a }
  .doubt rect { fill: #fff4de; stroke: #b7791f } .outside rect { fill: #f4f4f5; stroke: #71717a }
  path { fill: none; stroke: #55607a; stroke-width: 1.3 } .back { stroke-dasharray: 5 4 }
"""


class Node(NamedTuple):
    """The middle of a state's box, and the class that colours it."""

    x: float
    y: float
    kind: str = ""


S = RowState
NODES = {
    S.INVALID: Node(90, 70, "bad"),
    S.PENDING: Node(90, 240),
    S.CLAIMED: Node(260, 240),
    S.SENDING: Node(430, 240),
    S.QUEUED: Node(610, 240),
    S.RENDERING: Node(790, 240),
    S.COMPLETE: Node(960, 240, "end"),
    S.ERROR: Node(870, 70, "bad"),
    S.CANCELED: Node(700, 70, "bad"),
    S.REJECTED: Node(262, 420, "bad"),
    S.IN_DOUBT: Node(610, 420, "doubt"),
}
BOWS = {
    (S.PENDING, S.QUEUED): -150, (S.CLAIMED, S.QUEUED): -90, (S.SENDING, S.PENDING): -80, (S.QUEUED, S.COMPLETE): 80,
    (S.ERROR, S.INVALID): 45, (S.CANCELED, S.INVALID): 20, (S.ERROR, S.PENDING): -30, (S.IN_DOUBT, S.PENDING): -165,
    (S.PENDING, S.IN_DOUBT): 12, (S.INVALID, S.QUEUED): -60, (S.REJECTED, S.QUEUED): 30,
}  # fmt: skip
"""How far an arrow leaves the straight line, in pixels to its right; arrows that would lie on each other do."""
BETWEEN = 9


def states() -> str:
    """The state diagram as SVG: an arrow for each move of TRANSITIONS, named in its title."""
    moves = [(start, end) for start, ends in TRANSITIONS.items() for end in sorted(ends)]
    arrows = [
        _arrow(start, end, BOWS.get((start, end), BETWEEN if (end, start) in moves else 0)) for start, end in moves
    ]
    boxes = [_box(node, state.value) for state, node in NODES.items()]
    return _svg(1060, 540, [*arrows, *boxes])


def _arrow(start: RowState, end: RowState, bow: float) -> str:
    one, other = NODES[start], NODES[end]
    length = math.hypot(other.x - one.x, other.y - one.y)
    right = (-(other.y - one.y) / length, (other.x - one.x) / length)
    middle = ((one.x + other.x) / 2 + 2 * bow * right[0], (one.y + other.y) / 2 + 2 * bow * right[1])
    first, last = _border(one, middle), _border(other, middle)
    dashes = ' class="back"' if end is S.PENDING or (start, end) in _CORRECTIONS else ""
    path = f"M{first[0]:.0f} {first[1]:.0f} Q{middle[0]:.0f} {middle[1]:.0f} {last[0]:.0f} {last[1]:.0f}"
    return f'<path{dashes} d="{path}" marker-end="url(#tip)"><title>{start} → {end}</title></path>'


_CORRECTIONS = {(S.PENDING, S.QUEUED), (S.CLAIMED, S.QUEUED), (S.QUEUED, S.IN_DOUBT), (S.RENDERING, S.IN_DOUBT)} | {
    (S.PENDING, S.IN_DOUBT),
    (S.INVALID, S.QUEUED),
    (S.REJECTED, S.QUEUED),
}


def _border(node: Node, towards: tuple[float, float]) -> tuple[float, float]:
    """Where the line from a box's middle leaves the box."""
    across, down = towards[0] - node.x, towards[1] - node.y
    scale = min((WIDTH / 2 + 3) / (abs(across) or 1e-9), (HEIGHT / 2 + 3) / (abs(down) or 1e-9))
    return node.x + across * scale, node.y + down * scale


def _box(node: Node, text: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    place = f'x="{node.x - width / 2:.0f}" y="{node.y - height / 2:.0f}" width="{width}" height="{height}"'
    lines = text.split("\n")
    words = "".join(
        f'<text x="{node.x:.0f}" y="{node.y + 17 * (number - (len(lines) - 1) / 2):.1f}"'
        f"{'' if number == 0 else chr(32) + SMALL}>{escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    return f'<g class="{node.kind}"><rect {place}/>{words}</g>'


SMALL = 'class="small"'
STEPS = (
    ("manifest", "read, mapped, checked\nmanifest/"),
    ("results table", "staged, compared, merged\nledger/"),
    ("claim", "a worker takes rows\nledger/claims"),
    ("upload", "once for each content\nsubmit/uploads"),
    ("intent", "token, price: on disk\nledger/intents"),
    ("create", "the request leaves\nclient/"),
    ("answer", "id, figures: on disk\nledger/attempts"),
    ("settle", "final state, cost, video\nsettle/"),
)


def row() -> str:
    """The way of a row as SVG: what happens in which room, and what is on disk before the next step."""
    parts = []
    for number, (name, text) in enumerate(STEPS):
        x, y = 120 + 240 * (number % 4), 60 + 130 * (number // 4)
        kind = {"create": "outside", "intent": "doubt", "answer": "end"}.get(name, "")
        parts.append(_box(Node(x, y, kind), f"{number + 1}  {name}\n{text}", 200, 76))
        if number % 4:
            parts.append(f'<path d="M{x - 138} {y} L{x - 104} {y}" marker-end="url(#tip)"/>')
    parts.append('<path d="M840 98 L840 125 L120 125 L120 149" marker-end="url(#tip)"/>')
    return _svg(960, 250, parts)


def _svg(width: int, height: int, parts: list[str]) -> str:
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" style="fill:#55607a;stroke:none"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    )
    ground = f'<path d="M0 0H{width}V{height}H0z" style="fill:#fff;stroke:none"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", tip, ground, *parts, "</svg>", ""])


PICTURES = {"states.svg": states, "row.svg": row}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), encoding="utf-8")
