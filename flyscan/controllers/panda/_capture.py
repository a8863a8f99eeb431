"""PandA as a Capture: position compare, sequencer or timed triggers, and position capture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from ...errors import BusyError, CaptureError, ConfigurationError, LimitError, NotReadyError
from ...flight import (
    Block,
    Capture,
    CaptureCapabilities,
    Channel,
    Clock,
    EndReason,
    Path,
    RealClock,
    RestoreStep,
    Sweep,
)
from .._axis_map import AxisMap, align
from ._box import Box, read_box
from ._clients import foreign_clients, others_text
from ._config import Blocks, ChannelSpec, TriggerChoice, build
from ._control import ControlLink
from ._data import DataLink
from ._encoder import PandaEncoder, check_encoders
from ._ends import PLANNED
from ._feed import PIECE_S
from ._feeder import AHEAD_PIECES
from ._lines import PHASE_TICKS, Method
from ._plan import Planner, distinct
from ._rows import RowAssembler
from ._runner import POLL, SweepRunner
from ._settings import Settings
from ._stream import RowStream

__all__ = ["PandaCapture"]

#: Highest row rate PCAP sustains, s per row (PandABlocks-server, "High performance mode").
MIN_PERIOD = 1e-6
#: Blocks the server keeps for a late reader: three quarters of its 128, less the one in work.
BLOCKS_KEPT = 95
#: Block periods by which a reader may lag before it could be sent a block that was overwritten.
#: Far below :data:`BLOCKS_KEPT`: at the highest rates blocks fill before their period is over.
FRESH_BLOCKS = 5
#: Seconds within which a STEP sent to the box is in its register, network and server included.
HORIZON = 0.005
#: Points from the next one on that STEP moves no more: one is compared with already.
HORIZON_POINTS = 1
#: The same for streamed tables: what may be in the box's hands, and one point more.
FED_HORIZON = AHEAD_PIECES * PIECE_S + HORIZON
FED_POINTS = AHEAD_PIECES + 1


class PandaCapture(Capture):
    """Triggers and captures rows with a PandA.

    Every row has a gate as long as its exposure, made by a PULSE block from the trigger; PCAP
    captures on the gate's falling edge. All parameters are JSON-able.

    Args:
        name: the capture's name in messages.
        host: address of the box.
        control_port: port of its control server.
        data_port: port of its data server.
        encoders: axis to :class:`~flyscan.controllers.AxisMap` or its dictionary.
        channels: name to :class:`ChannelSpec` or its dictionary: counters and other positions.
        exposure: gate of a row in seconds; None for the fraction `duty` of its period.
        duty: see `exposure`; below 1, since a gate must end before the next trigger comes,
            and a stage running a little fast brings that early.
        trigger: ``"pcomp"``, ``"seq"``, or ``"auto"``: PCOMP where the step is a whole number
            of counts to within half a count over a line, SEQ elsewhere.
        streamed: whether tables of SEQ are given to the box in pieces while the stage flies, so
            that these lines may change their step, too, and be of any length. Rows for some
            0.3 s are in the box's hands then; if the flight host or the network stall for longer,
            the box runs dry and the flight fails.
        gate: bit that must be high, e.g. a detector's ready signal ``"TTLIN5.VAL"``: a row whose
            position comes before waits for it (by SEQ).
        blocks: which blocks to use, see :class:`Blocks`.
        settings: further fields of the box to set while armed, e.g.
            ``{"TTLOUT1.VAL": "PULSE1.OUT"}``; put back like all others.
        block_period: the box's flush period in seconds (0.1 unless its driver was told else).
        patience: seconds a lost connection is tried again; the box keeps rows for 9 s.
        timeout: seconds for connecting, for answers, and for expected states of the box.
        clock: time; real unless given.
    """

    def __init__(
        self,
        name: str,
        host: str,
        *,
        control_port: int = 8888,
        data_port: int = 8889,
        encoders: Mapping[str, AxisMap | Mapping[str, Any]] | None = None,
        channels: Mapping[str, ChannelSpec | Mapping[str, Any]] | None = None,
        exposure: float | None = None,
        duty: float = 0.8,
        trigger: str = "auto",
        streamed: bool = False,
        gate: str | None = None,
        blocks: Blocks | Mapping[str, Any] | None = None,
        settings: Mapping[str, str] | None = None,
        block_period: float = 0.1,
        patience: float = 8.0,
        timeout: float = 3.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._encoders = {
            axis: given if isinstance(given, AxisMap) else AxisMap.from_dict(given)
            for axis, given in (encoders or {}).items()
        }
        self._channels = {c: build(ChannelSpec, s, name) for c, s in (channels or {}).items()}
        self._blocks = build(Blocks, blocks or Blocks(), name)
        self._trigger = _choice(trigger, name)
        self._gate = gate
        self._streamed = streamed
        self._exposure = exposure
        self._duty = duty
        self._extra = dict(settings or {})
        self._block_period = block_period
        self._patience = patience
        self._timeout = timeout
        self._clock = clock or RealClock()
        self._host = host
        self._data_port = data_port
        self._control = ControlLink(
            name, host, control_port, timeout, patience=patience, clock=self._clock
        )
        self._settings = Settings(self._control)
        self._known: Box | None = None
        self._stream: RowStream | None = None
        self._runner: SweepRunner | None = None
        compared = gate is None and self._trigger is not TriggerChoice.SEQ
        self._retunable = bool(self._encoders) and (compared or streamed)
        self._feeds = streamed

    # --- what it is ------------------------------------------------------------------------

    @property
    def capabilities(self) -> CaptureCapabilities:
        """What this box can do with these encoders and channels; once a path is checked, with it.

        The step of straight lines can change in flight where position compare or streamed tables
        trigger them.
        """
        return CaptureCapabilities(
            min_period=max(MIN_PERIOD, (self._exposure or 0.0) + PHASE_TICKS / self._box.clock_hz),
            live_share=self._duty if self._exposure is None else 0.0,
            block_period=self._block_period,
            position=bool(self._encoders),
            time=self._box.names.counter is not None,
            step_in_flight=self._retunable,
            horizon=FED_HORIZON if self._feeds else HORIZON,
            horizon_points=FED_POINTS if self._feeds else HORIZON_POINTS,
            holds_armed=True,
            rows_buffered=BLOCKS_KEPT,
        )

    def channels(self) -> tuple[Channel, ...]:
        """Mean, lowest and highest position of every encoder, then the configured channels."""
        return tuple(column.channel for column in self._box.columns)

    @property
    def end_reason(self) -> EndReason | None:
        """Why the last capture ended."""
        return self._stream.reason if self._stream is not None else None

    @property
    def _box(self) -> Box:
        if self._known is None:
            raise NotReadyError(
                "not connected", device=self.name, remedy="await connect() before anything else"
            )
        return self._known

    @property
    def _planner(self) -> Planner:
        box = self._box
        return Planner(
            device=self.name,
            encoders=self._encoders,
            trigger=self._trigger,
            exposure=self._exposure,
            duty=self._duty,
            names=box.names,
            clock_hz=box.clock_hz,
            table_rows=box.table_rows,
            gate_bit=box.gate_bit,
            streamed=self._streamed,
        )

    async def connect(self) -> None:
        """Connect and learn the box's layout."""
        await self._control.open()
        if self._known is None:
            self._known = await read_box(
                self._control, self._encoders, self._channels, self._blocks, self._gate
            )

    async def close(self) -> None:
        """Close connections. Idempotent."""
        await self._put_by_runner()
        if self._stream is not None:
            await self._stream.close()
        await self._control.close()
        self._known = None

    # --- checks ----------------------------------------------------------------------------

    def validate(self, path: Path) -> tuple[str, ...]:
        """Check every distinct line of `path`; remarks tell how steps are rounded."""
        if path.period < MIN_PERIOD:
            raise LimitError(
                f"the path has {path.period:g} s per point, the box needs at least {MIN_PERIOD:g}",
                device=self.name,
                remedy="use a longer period per point",
            )
        return self._planner.validate(path)

    async def check(self, path: Path) -> None:
        """Read-only check: idle, nobody else reading, encoders alive."""
        planner = self._planner
        self._retunable = planner.retunable(path)
        self._feeds = self._streamed and Method.SEQ in planner.methods(path)
        status = (await self._control.values("*PCAP.STATUS"))[0]
        clients = await foreign_clients(self._control, self._stream)
        if not status.startswith("Idle"):
            raise BusyError(
                f"the box is capturing already ({status}){others_text(clients)}",
                device=self.name,
                remedy="wait until the other flight is over, or stop it with `flyscan stop`",
            )
        if any(kind == "data" for kind, _ in clients):
            raise BusyError(
                f"another client is connected to the data port{others_text(clients, 'data')}",
                device=self.name,
                remedy="disconnect it: a slow reader keeps the box from being armed again",
            )
        maps = {planner.axis_map(segment) for segment in distinct(path)} - {None}
        await check_encoders(self._control, self.name, [m for m in maps if m is not None])

    async def align(
        self,
        axis: str,
        readback: Callable[[], Awaitable[float]],
        *,
        tolerance: float,
        move: Callable[[float], Awaitable[None]] | None = None,
        distance: float = 0.0,
    ) -> float:
        """Set and verify the encoder of `axis` against its motor, at rest.

        Parameters, result and errors are those of :func:`flyscan.controllers.align`.
        """
        if axis not in self._encoders:
            raise ConfigurationError(
                f"no encoder is configured for axis {axis!r}",
                device=self.name,
                remedy=f"axes with encoders are {', '.join(self._encoders) or 'none'}",
            )
        axis_map = self._encoders[axis]
        port = await PandaEncoder.of(self._control, axis_map.encoder)
        return await align(
            axis_map, port, readback, tolerance=tolerance, move=move, distance=distance
        )

    # --- a flight --------------------------------------------------------------------------

    async def save(self, path: Path) -> None:
        """Note the fields and tables that flying `path` changes."""
        box, planner = self._box, self._planner
        uses_seq = any(planner.method(s) is Method.SEQ for s in distinct(path))
        fields = [*box.changed_fields(uses_seq), *self._extra]
        await self._settings.save(
            dict.fromkeys(fields), [box.names.seq["TABLE"]] if uses_seq else []
        )

    async def arm(self, path: Path, from_point: int) -> None:
        """Configure and arm; rows count from 0."""
        box, planner = self._box, self._planner
        await self._put_by_runner()
        if self._stream is not None:
            await self._stream.close()
        self._settings.forget()
        await self._control.run("*PCAP.DISARM=", *box.take_down)
        self._settings.note(box.down)
        await self._control.run("*CAPTURE=", *(f"{f}={k}" for f, k in box.captures.items()))
        await self._settings.apply({**box.static_fields, **self._extra})
        self._stream = await self._open_stream(box)
        self._runner = SweepRunner(
            box,
            self._control,
            self._settings,
            self._stream,
            planner,
            self._clock,
            from_point=from_point,
            timeout=self._timeout,
            prompt=3 * self._block_period,
            delivery=10 * self._block_period + self._timeout,
        )
        await self._until_idle(self._stream)
        await self._arm_once(self._stream)
        earliest = self._now_ns()
        await self._settings.apply({box.names.arm: "1"})
        await self._until_active(box.names.pcap["ACTIVE"])
        self._stream.rows.begun_between(earliest, self._now_ns())

    async def _arm_once(self, stream: RowStream) -> None:
        """Arm the idle box; over a new connection if the present one breaks.

        Nobody knows then whether the box had heard it: one that has refuses to be armed again.
        """
        connections = self._control.connections
        (reply,) = await self._control.run("*PCAP.ARM=", strict=False)
        if reply.error is None:
            return
        if not (await self._control.values("*PCAP.STATUS"))[0].startswith("Busy"):
            reply.check()
        if self._control.connections == connections:
            clients = await foreign_clients(self._control, stream)
            raise BusyError(
                f"somebody else has just armed the box ({reply.error}){others_text(clients)}",
                device=self.name,
                remedy="wait until the other flight is over, or stop it with `flyscan stop`",
            )

    def _now_ns(self) -> int:
        return self._clock.epoch_ns + round(self._clock.now() * 1e9)

    async def _until_active(self, active: str) -> None:
        """Triggers that come before the hardware is armed make no rows."""
        deadline = self._clock.now() + self._timeout
        while (await self._control.values(active))[0] != "1":
            if self._clock.now() > deadline:
                raise CaptureError(
                    f"{active} is 0, expected 1 within {self._timeout:g} s after arming",
                    device=self.name,
                    remedy="check the health of PCAP on the box's web page, and restart the box",
                )
            await self._clock.sleep(POLL)

    async def _open_stream(self, box: Box) -> RowStream:
        rows = RowAssembler(self.name, box.columns, box.index_key, box.clock_hz)
        fresh = FRESH_BLOCKS * self._block_period
        stream = RowStream(
            self.name,
            self._data_link,
            rows,
            self._clock,
            self._patience,
            fresh,
            self._captured_in_all,
        )
        await stream.open()
        return stream

    async def _captured_in_all(self) -> int | None:
        """Rows of the last capture; None while it goes on, or if it ended unplanned."""
        completion, rows = await self._control.values("*PCAP.COMPLETION", "*PCAP.CAPTURED")
        return int(rows) if completion in (end.value for end in PLANNED) else None

    def _data_link(self) -> DataLink:
        return DataLink(self.name, self._host, self._data_port, self._timeout)

    async def _until_idle(self, stream: RowStream) -> None:
        """Wait for readers of the capture before to finish: the box refuses to arm until then."""
        deadline = self._clock.now() + self._timeout
        while True:
            state, _, active = (await self._control.values("*PCAP.STATUS"))[0].split()
            if state == "Idle" and active == "0":
                return
            if self._clock.now() > deadline:
                clients = await foreign_clients(self._control, stream)
                raise BusyError(
                    f"the box did not become idle within {self._timeout:g} s ({state}, {active} "
                    f"data clients still reading){others_text(clients, 'data')}",
                    device=self.name,
                    remedy="disconnect the other data clients",
                )
            await self._clock.sleep(10 * POLL)

    async def begin(self, sweep: Sweep) -> None:
        """Make triggers ready; nothing to do for a box still armed for this point."""
        await self._armed.begin(sweep)

    async def triggered(self, sweep: Sweep) -> None:
        """Ask until the last gate of the sweep is over."""
        await self._armed.triggered(sweep)

    async def ready(self, sweep: Sweep) -> None:
        """Write positions, numbers and tables of a sweep, with the blocks disabled."""
        await self._armed.ready(sweep)

    async def reached(self) -> int:
        """Next untriggered point, live; exact after a hold."""
        return await self._armed.reached()

    async def hold(self) -> None:
        """Stop a timed train; position triggers wait by themselves."""
        if self._runner is not None:
            await self._runner.hold()

    async def withdraw(self) -> None:
        """Disable the trigger blocks; their counts stay to be read."""
        await self._armed.withdraw()

    async def end(self, sweep: Sweep) -> int:
        """Wait for the last gate of the sweep."""
        return await self._armed.end(sweep)

    async def _put_by_runner(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.close()

    @property
    def _armed(self) -> SweepRunner:
        if self._runner is None:
            raise self._not_armed()
        return self._runner

    def _not_armed(self) -> CaptureError:
        return CaptureError(
            "not armed",
            device=self.name,
            remedy="this is a defect of the caller: arm comes before everything else",
        )

    async def retune(self, factor: float) -> None:
        """Change the step of the sweep under way to `factor` times nominal, in whole counts.

        With position compare it acts from the next point but one on, or from the next one if
        the box was just making a pulse; with streamed tables behind the points that the box has
        already. A larger step leaves points at the end of the line without a row, and
        :meth:`end` returns the first of them; with a smaller one the points are used up before
        the line ends. A step one count below the present one cannot be written in flight
        (PCOMP takes it for a jump of the encoder): then it is one less, or none.

        Raises:
            ConfigurationError: what makes the triggers of this line cannot.
            LimitError: the step is too small for the block, or at nominal speed for the gate.
        """
        await self._armed.retune(factor)

    # --- the end ---------------------------------------------------------------------------

    async def captured(self) -> int:
        """Rows captured since arming, after all that the box has were read."""
        if self._stream is None:
            raise self._not_armed()
        stream = self._stream
        if not stream.over:
            (count,) = await self._control.values("*PCAP.CAPTURED")
            await stream.wait_seen(int(count), self._patience + 10 * self._block_period)
        return stream.rows.accepted

    async def disarm(self) -> int:
        """End the capture; returns the rows since arming."""
        if self._stream is None:
            raise self._not_armed()
        stream = self._stream
        await stream.wait_streaming(self._patience + 10 * self._block_period)
        stream.ending = True
        await self._put_by_runner()
        await self._control.run(*self._box.take_down)
        self._settings.note(self._box.down)
        await self._until_complete()
        await self._control.run("*PCAP.DISARM=")
        await stream.wait_over(self._patience + 10 * self._block_period)
        return stream.rows.accepted

    async def _until_complete(self) -> None:
        """Dropping the enable finishes the row under way; disarming at once could cut it."""
        deadline = self._clock.now() + self._timeout
        while (await self._control.values("*PCAP.COMPLETION"))[0] == "Busy":
            if self._clock.now() > deadline:  # never enabled: disarming ends that, too
                return
            await self._clock.sleep(POLL)

    def blocks(self) -> AsyncIterator[Block]:
        """Blocks since :meth:`arm`, in order and without gaps."""
        if self._stream is None:
            raise self._not_armed()
        return self._stream.blocks()

    async def stop(self) -> None:
        """Stop triggers and capture at once."""
        if self._known is None:
            return
        if self._stream is not None:
            self._stream.ending = True
        await self._put_by_runner()
        await self._control.run(*self._known.take_down, "*PCAP.DISARM=")
        self._settings.note(self._known.down)

    def restore_steps(self) -> tuple[RestoreStep, ...]:
        """What :meth:`restore` would write now."""
        return self._settings.steps()

    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        """Put every changed setting back as found."""
        found = self._settings.steps() if steps is None else steps
        if found:
            await self.connect()
            await self.stop()
            await self._until_disarmed()
            await self._settings.restore(found)

    async def _until_disarmed(self) -> None:
        """Let a capture that was just stopped end, so that the next flight finds the box idle.

        One that does not end in time is left to the next check: settings are put back anyway.
        """
        deadline = self._clock.now() + self._timeout
        while (await self._control.values("*PCAP.STATUS"))[0].startswith("Busy"):
            if self._clock.now() > deadline:
                return
            await self._clock.sleep(10 * POLL)


def _choice(trigger: str, device: str) -> TriggerChoice:
    try:
        return TriggerChoice(trigger)
    except ValueError as exc:
        raise ConfigurationError(
            f"unknown trigger {trigger!r}",
            device=device,
            remedy=f"choose one of {', '.join(TriggerChoice)}",
        ) from exc
