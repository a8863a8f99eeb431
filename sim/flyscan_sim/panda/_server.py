"""The box on the network: control and data port over asyncio, driven by the world's clock."""

from __future__ import annotations

import asyncio
from asyncio import Server, StreamReader, StreamWriter
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyscan.errors import ConfigurationError
from flyscan_sim.world import World

from ._buffer import BlockBuffer
from ._connections import serve_control, serve_data
from ._control import ControlSession
from ._data import DataSession, iso_time
from ._device import Client, Device
from ._engine import TICKS_PER_S, Engine
from ._experiment import Experiment
from ._fast import FastSource
from ._layout import load_layout
from ._positions import Counts
from ._troubles import GARBAGE, Troubles

__all__ = ["PandaServer", "PandaWiring"]

STEP_S = 0.05
"""How often the box is stepped when nobody asks: so late the end of an experiment may show."""

IDLE_S = 1.0
LINE_LIMIT = 1 << 22

FloatArray = NDArray[np.float64]
Serve = Callable[[StreamReader, StreamWriter], Coroutine[Any, Any, None]]
_NONE: FloatArray = np.empty(0)


@dataclass(frozen=True)
class PandaWiring:
    """Which cables are plugged in.

    Attributes:
        encoders: axis of the world by INENC instance, e.g. {"INENC1": "x"}.
        pulses: detector channel of the world by TTLIN instance, e.g. {"TTLIN1": "I0"}.
        outputs: TTLOUT instances that lead to other boxes, see
            :meth:`PandaServer.rising_edges`.
    """

    encoders: Mapping[str, str] = field(default_factory=dict[str, str])
    pulses: Mapping[str, str] = field(default_factory=dict[str, str])
    outputs: tuple[str, ...] = ()


class PandaServer:
    """A simulated PandABox.

    Args:
        world: stages, detectors, clock and faults.
        wiring: what is plugged in where.
        host: address to listen on.
        control_port, data_port: 0 picks free ones; read them back after :meth:`start`.
        block_period: how often the driver hands over samples, seconds (100 ms by default, as
            the real driver is loaded).
        source: made-up samples instead of captured ones, for benchmarks.

    Raises:
        ConfigurationError: the wiring names something that does not exist.
    """

    def __init__(
        self,
        world: World,
        wiring: PandaWiring,
        *,
        host: str = "127.0.0.1",
        control_port: int = 0,
        data_port: int = 0,
        block_period: float = 0.1,
        source: FastSource | None = None,
    ) -> None:
        self.control_port = control_port
        self.data_port = data_port
        self._world = world
        self._clock = world.clock
        self._wiring = wiring
        self._host = host
        self._block_period = block_period
        self._source = source
        self._listeners: list[Server] = []
        self._connections: dict[asyncio.Task[None], str] = {}
        self._runner: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._kept: dict[str, FloatArray] = {}
        self._fresh = False
        _check(wiring, world)
        self._power_on()

    def _power_on(self) -> None:
        """Everything as after switching on: default configuration, no experiment."""
        world = self._world
        encoders = {name: world.axes[axis].counts for name, axis in self._wiring.encoders.items()}
        trains = {name: self._pulses(channel) for name, channel in self._wiring.pulses.items()}
        start = int(self._clock.now() * TICKS_PER_S)
        self._engine = Engine(load_layout(), encoders, trains, self._spoilt_triggers, start)
        self._buffer = BlockBuffer()
        self._troubles = Troubles(world.faults)
        epoch = self._clock.epoch_ns
        self._experiment = Experiment(
            self._engine, self._buffer, epoch, self._block_period, self._source
        )
        self._device = Device(load_layout(), self._engine, self._experiment)
        self._engine.fields = self._device.fields
        self._experiment.device = self._device
        for output in self._wiring.outputs:
            self._engine.plug_in(output)

    def rising_edges(self, output: str, start: float, end: float) -> FloatArray:
        """World times in ``(start, end]`` at which a wired TTLOUT goes high.

        `end` must not lie in the future. For one reader, who asks in order of time: edges up
        to the `end` of a call are forgotten.
        """
        self._refresh()
        late = np.concatenate((self._kept.get(output, _NONE), self._new_edges(output)))
        self._kept[output] = late[late > end]
        return late[(late > start) & (late <= end)]

    def _new_edges(self, output: str) -> FloatArray:
        return self._engine.take_edges(output) / TICKS_PER_S

    def _pulses(self, channel: str) -> Callable[[FloatArray], Counts]:
        """Pulses of a channel; the microsecond the box may be ahead of the world counts none."""
        world, clock = self._world, self._clock
        return lambda seconds: world.counted(channel, np.minimum(seconds, clock.now()))

    def _spoilt_triggers(self, kind: str) -> tuple[int, ...]:
        return self._troubles.spoilt_triggers(kind, self._engine.pcap.triggers)

    # Life

    async def start(self) -> None:
        """Listen on both ports."""
        control = await self._listen(self._control, self.control_port)
        data = await self._listen(self._data, self.data_port)
        self.control_port = control.sockets[0].getsockname()[1]
        self.data_port = data.sockets[0].getsockname()[1]
        self._runner = asyncio.create_task(self._run(), name="PandA clock")

    async def stop(self) -> None:
        """Close all connections and stop listening; harmless when not started.

        Raises:
            ConfigurationError: a fault of the script could not be carried out.
        """
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        runner, self._runner = self._runner, None
        await _cancel([*self._connections, *([runner] if runner else [])])
        for listener in listeners:
            await listener.wait_closed()
        if runner is not None and not runner.cancelled():
            runner.result()

    async def restart(self) -> None:
        """Switch the box off and on: connections and configuration are lost."""
        await _cancel(list(self._connections))
        self._power_on()
        self._kick.set()

    async def _listen(self, serve: Serve, port: int) -> Server:
        def accept(reader: StreamReader, writer: StreamWriter) -> None:
            def close(done: asyncio.Task[None]) -> None:
                del self._connections[done]
                writer.close()

            task = asyncio.create_task(_until_it_breaks(serve, reader, writer))
            self._connections[task] = serve.__name__
            # A task that is cancelled before it has begun comes to no clean-up of its own.
            task.add_done_callback(close)

        server = await asyncio.start_server(accept, self._host, port, limit=LINE_LIMIT)
        self._listeners.append(server)
        return server

    # Connections

    async def _control(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._cut("close_control"):
            return
        with self._listed("config", writer):
            session = ControlSession(self._device, self._refresh_once)
            await serve_control(reader, writer, session, self._reply, self._kick.set)

    async def _data(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._cut("close_data"):
            return
        with self._listed("data", writer):
            session = DataSession(self._buffer, self._experiment)
            await serve_data(reader, writer, session, self._buffer, self._garble)

    @contextmanager
    def _listed(self, kind: str, writer: StreamWriter) -> Generator[None]:
        """Show the connection in ``*WHO?``."""
        now = self._clock.epoch_ns + round(self._clock.now() * 1e9)
        host, port = writer.get_extra_info("peername")[:2]
        client = Client(iso_time(now)[:23] + "Z", kind, f"{host}:{port}")
        clients = self._device.clients
        clients.append(client)
        try:
            yield
        finally:
            clients.remove(client)

    async def _reply(self, reply: bytes) -> bytes:
        slow = self._troubles.active("slow_replies", self._clock.now())
        if slow is not None:
            await self._clock.sleep(slow.number("delay"))
        garbage = self._garbage()
        return reply if garbage is None else garbage + b"\n"

    async def _garble(self, chunk: bytes) -> bytes:
        garbage = self._garbage()
        return chunk if garbage is None else garbage + chunk

    def _garbage(self) -> bytes | None:
        fault = self._troubles.active("garbage", self._clock.now())
        return None if fault is None else fault.text("text", GARBAGE).encode()

    def _cut(self, kind: str) -> bool:
        return self._troubles.active(kind, self._clock.now()) is not None

    # Time

    def _refresh(self) -> None:
        """Bring the box up to the present."""
        now = self._clock.now()
        self._engine.advance(now)
        for batch in self._engine.batches:
            self._troubles.note_spoilt("lost_trigger", batch.lost)
            self._troubles.note_spoilt("doubled_trigger", batch.doubled)
        self._experiment.service()
        self._troubles.apply(now, self._device, self._experiment, self._buffer)

    def _refresh_once(self) -> None:
        """Bring the box up to the present, for all lines that came together.

        The box answers them within microseconds. Here they are answered without a turn of the
        loop in between, and stepping the box takes longer than that.
        """
        if not self._fresh:
            self._refresh()
            self._fresh = True
            asyncio.get_running_loop().call_soon(self._grow_stale)

    def _grow_stale(self) -> None:
        self._fresh = False

    async def _run(self) -> None:
        while True:
            self._refresh()
            await self._cut_lines()
            if self._troubles.restart_due(self._clock.now()):
                await self.restart()
            self._kick.clear()
            await self._sleep_until(self._next_wake())

    def _next_wake(self) -> float:
        now = self._clock.now()
        times = [now + (STEP_S if self._experiment.running else IDLE_S)]
        event = self._experiment.next_event()
        if event is not None:
            times.append((event + 1) / TICKS_PER_S)
        change = self._troubles.next_change(now)
        if change is not None:
            times.append(change)
        return max(min(times), now)

    async def _sleep_until(self, when: float) -> None:
        """Sleep, or until something has changed the plan."""
        sleep = asyncio.ensure_future(self._clock.sleep_until(when))
        kick = asyncio.ensure_future(self._kick.wait())
        try:
            await asyncio.wait({sleep, kick}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            kick.cancel()

    async def _cut_lines(self) -> None:
        for kind, serve in (("close_control", "_control"), ("close_data", "_data")):
            if self._cut(kind):
                await _cancel([task for task, name in self._connections.items() if name == serve])


def _check(wiring: PandaWiring, world: World) -> None:
    layout = load_layout()
    plugs = {"INENC": (wiring.encoders, world.axes), "TTLIN": (wiring.pulses, world.channels)}
    for block, (cables, ends) in plugs.items():
        known = list(layout.blocks[block].instances())
        for plug, end in cables.items():
            if plug not in known or end not in ends:
                raise ConfigurationError(
                    f"expected a cable from one of {', '.join(known)} to one of "
                    f"{', '.join(ends)}, got {plug} to {end}",
                    device="PandA wiring",
                    remedy="name an input of the box and an axis or channel of the world",
                )
    known = list(layout.blocks["TTLOUT"].instances())
    for output in wiring.outputs:
        if output not in known:
            raise ConfigurationError(
                f"expected a cable at one of {', '.join(known)}, got {output}",
                device="PandA wiring",
                remedy="name an output of the box",
            )


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _until_it_breaks(serve: Serve, reader: StreamReader, writer: StreamWriter) -> None:
    """Serve one connection; that its client breaks it is the client's end of the matter."""
    with suppress(ConnectionError):
        await serve(reader, writer)
