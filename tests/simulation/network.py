"""The network between processes and the API, down to the bytes that one connection carries, and when."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from random import Random
from typing import Any

from simulation.api import Answer, Api, Asked
from simulation.loop import VirtualLoop
from simulation.machines import process_of

_APART = 1e-6
_MARK = re.compile(rb"rb_[0-9a-f]{20}")
_NO_PROCESS = Context()
"""What the network and the API do, no process does: it goes on when they die."""


@dataclass(slots=True, kw_only=True)
class NetworkFaults:
    """Shares: of connections, of requests, of answers."""

    refused: float = 0.0  # connections that are
    hanging: float = 0.0  # connections that never stand
    write_refused: float = 0.0  # the system takes nothing of the request
    lost_before: float = 0.0  # requests that never arrive
    lost_after: float = 0.0  # answers that never arrive
    half: float = 0.0  # answers that break off
    slow: float = 0.0  # requests or answers that take a minute or two
    latency_s: float = 0.04


@dataclass(slots=True)
class Network:
    """All connections of one seed."""

    loop: VirtualLoop
    api: Api
    chance: Random
    faults: NetworkFaults
    seen: dict[str, int] = field(default_factory=dict)
    _carried: dict[str, int] = field(default_factory=dict)
    files: list[int] = field(default_factory=list)

    async def connect(self, factory: Callable[[], asyncio.Protocol], _: int) -> tuple[Any, Any]:
        """As asyncio's `create_connection`."""
        if self.draws("refused"):
            await asyncio.sleep(self.latency())
            raise ConnectionRefusedError("refused")
        if self.draws("hanging"):
            await self.loop.create_future()
        await asyncio.sleep(self.latency())
        protocol = factory()
        transport = Connection(self, protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def draws(self, fault: str) -> bool:
        """Whether it happens now."""
        share = getattr(self.faults, fault)
        if not share or self.chance.random() >= share:
            return False
        self.seen[fault] = self.seen.get(fault, 0) + 1
        return True

    def carries(self, token: str) -> bool:
        """Whether a request with this mark has left and has not arrived."""
        return self._carried.get(token, 0) > 0

    def carry(self, data: bytes, by: int) -> None:
        """A request leaves (1), or has arrived (-1)."""
        for mark in _MARK.findall(data):
            token = mark.decode()
            self._carried[token] = self._carried.get(token, 0) + by

    def latency(self) -> float:
        """Seconds of one way."""
        if self.draws("slow"):
            return self.chance.uniform(20, 110)
        return self.chance.expovariate(1 / self.faults.latency_s)

    def close(self) -> None:
        """Give the files back."""
        for number in self.files:
            os.close(number)
        self.files.clear()


class Connection(asyncio.Transport):
    """The client's end, and the server behind it.

    Its descriptor is a real one, which is readable once the other end's close has arrived: a client may ask for that.
    """

    def __init__(self, network: Network, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._network = network
        self._loop = network.loop
        self._protocol = protocol
        self._context = copy_context()
        self._closing = False
        self._lost = False
        self._inbox = bytearray()
        self._there_at = self._back_at = 0.0
        self._news = os.eventfd(0, os.EFD_NONBLOCK)
        network.files.append(self._news)
        self._deaf = False  # the server gets nothing more

    # --- what the client calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Its socket is itself."""
        return self if name == "socket" else default

    def fileno(self) -> int:
        """A descriptor to poll."""
        return self._news

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closing

    def write(self, data: Any) -> None:
        """Bytes for the server. Where the system refuses them, the connection is closed at once, and none leave."""
        if self._closing:
            return
        if self._network.draws("write_refused"):
            self._deaf = True
            self._end(BrokenPipeError("refused by the system"))
            return
        self._network.carry(bytes(data), 1)
        self._there_at = self._after(self._there_at)
        self._loop.call_at(self._there_at, self._arrive, bytes(data), context=_NO_PROCESS)

    def abort(self) -> None:
        """Drop it. What has left still arrives."""
        self._end(None)

    def close(self) -> None:
        """The same."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)

    # --- the server

    def _arrive(self, data: bytes) -> None:
        self._network.carry(data, -1)
        if self._deaf:
            return
        self._inbox += data
        if (asked := self._whole()) is None:
            return
        network = self._network
        if network.draws("lost_before"):
            self._deaf = True
            self._break_off()
            return
        answer = network.api.answer(asked)
        if network.draws("lost_after"):
            self._deaf = True
            self._break_off()
        elif network.draws("half"):
            self._deaf = True
            written = answer.written()
            self._send(written[: network.chance.randrange(1, len(written))])
            self._break_off()
        else:
            self._send_whole(answer, asked)

    def _whole(self) -> Asked | None:
        head, found, rest = bytes(self._inbox).partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode().split("\r\n")
        stated = dict(line.lower().split(": ", 1) for line in lines)
        length = int(stated.get("content-length", 0))
        if len(rest) < length:
            return None
        self._inbox.clear()
        method, path, _ = first.split(" ")
        return Asked(method, path, rest[:length])

    def _send_whole(self, answer: Answer, asked: Asked) -> None:
        written, chance = answer.written(), self._network.chance
        if chance.random() < 0.1:
            cut = chance.randrange(1, len(written))
            self._send(written[:cut])
            written = written[cut:]
        self._send(written, asked if asked.is_create and answer.has_id else None)
        if chance.random() < 0.1:  # the server keeps no connection for ever, and may close it just then
            self._back_at += chance.choice((0.0, 0.5, 4.0))
            self._hang_up()

    def _break_off(self) -> None:
        """Silence, or a close; the client finds out by its own clock, or at once."""
        if self._network.chance.random() < 0.6:
            self._hang_up()

    def _send(self, data: bytes, whole_answer_to: Asked | None = None) -> None:
        self._back_at = self._after(self._back_at)
        self._loop.call_at(self._back_at, self._receive, data, whole_answer_to, context=self._context)

    def _hang_up(self) -> None:
        self._deaf = True
        self._back_at = self._after(self._back_at)
        self._loop.call_at(self._back_at, self._note_end, context=_NO_PROCESS)
        self._loop.call_at(self._back_at + _APART, self._receive_end, context=self._context)

    def _note_end(self) -> None:
        """The system knows; the process has yet to look."""
        if self._news in self._network.files:
            os.eventfd_write(self._news, 1)

    def _receive(self, data: bytes, whole_answer_to: Asked | None) -> None:
        if self._closing:
            return
        self._protocol.data_received(data)
        if whole_answer_to is not None and (process := process_of(self._context)) is not None:
            process.acknowledged += [mark.decode() for mark in _MARK.findall(whole_answer_to.body)]

    def _receive_end(self) -> None:
        if not self._closing:
            self._protocol.eof_received()
            self._end(None)

    def _after(self, earlier: float) -> float:
        """What follows on one connection arrives in order."""
        return max(self._loop.time() + self._network.latency(), earlier + 2 * _APART)
