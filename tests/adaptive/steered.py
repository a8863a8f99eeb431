"""Steered flights on the in-memory box, for tests that look at all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.adaptive import AdaptivePilot, Policy, SteeringConfig
from flyscan.flight import (
    AxisLimits,
    Flight,
    FlightOptions,
    FloatArray,
    Monitor,
    Path,
    RunFile,
    Sink,
    State,
    Steered,
    Trigger,
)
from flyscan.testing import ManualClock, MemoryBox, MemorySink

PERIOD = 0.01
LENGTH, POINTS, LINES = 10.0, 20, 3
MAP = Fly(PERIOD @ (Linspace("y", 0, 2, LINES) * ~Linspace.bounded("x", 0, LENGTH, POINTS)))
LIMITS = AxisLimits(low=-20.0, high=30.0, velocity=100.0, acceleration=1000.0, unit="um")

Signals = Mapping[str, Callable[[Mapping[str, FloatArray], FloatArray], FloatArray]]


class SteeredFlight:
    """A flight under a policy, with everything around it.

    Args:
        policy: what steers it.
        trigger: what makes rows.
        signals: channels beside the positions.
        sink: where frames go.
        monitors: slow signals.
        path: flown instead of the small map.
        duty: share of the nominal period for which rows are live.
        limits: of both axes.
        min_period: shortest time between triggers.
        block_period: how often rows are delivered.
        config: fields of the steering's configuration.
    """

    def __init__(
        self,
        policy: Policy,
        trigger: Trigger = Trigger.TIME,
        *,
        signals: Signals | None = None,
        sink: Sink | None = None,
        monitors: tuple[Monitor, ...] = (),
        path: Path | None = None,
        clock: ManualClock | None = None,
        duty: float = 1.0,
        limits: AxisLimits = LIMITS,
        min_period: float = 1e-5,
        block_period: float = 0.05,
        **config: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.box = MemoryBox(
            axes={"x": limits, "y": limits},
            clock=self.clock,
            block_period=block_period,
            duty=duty,
            min_period=min_period,
        )
        self.limits = limits
        if signals is not None:
            self.box.capture.signals = dict(signals)
        self.sink = sink or MemorySink()
        self.events: list[dict[str, Any]] = []
        self.path = path or Path.from_spec(MAP, trigger=trigger)
        settings = SteeringConfig(policy=policy.to_dict(), **config)
        self.flight = Flight(
            self.box.motion,
            self.box.capture,
            self.sink,
            self.clock,
            self.path,
            self.events.append,
            monitors=monitors,
            options=FlightOptions(flush_period=0.05),
            steered=Steered(
                lambda helm: AdaptivePilot(settings, helm, self.clock, policy),
                settings.i0,
                settings.nominal_i0,
                self.clock.epoch_ns,
            ),
        )
        self.monitors = monitors

    async def begin(self, directory: str = "/") -> None:
        """Open the file and fly off."""
        channels = (*self.box.capture.channels(), *(m.channel for m in self.monitors))
        run = RunFile(
            directory, "run", channels, {"x": "um", "y": "um"}, {}, self.clock.epoch_ns, tuned=True
        )
        await self.sink.open(run)
        await self.clock.run(self.flight.prepare())
        self.flight.kickoff()

    async def end(self) -> None:
        """Fly to the end."""
        await self.clock.run(self.flight.wait())
        await self.sink.close()

    async def fly(self, directory: str = "/") -> None:
        """All of it."""
        await self.begin(directory)
        await self.end()

    # --- what came of it -------------------------------------------------------------------

    def check_accounts(self) -> None:
        """Every point of path and detours kept once or given up, nothing left behind."""
        assert self.flight.state is State.DONE
        assert isinstance(self.sink, MemorySink)
        rows = {r.segment: r for r in self.sink.ledger}  # a later row replaces an earlier one
        assert all(row.closes for row in rows.values()), rows
        kept = np.sort(self.column("point")[self.kept])
        given_up = [np.arange(w["first"], w["stop"]) for w in self.records("waived")]
        appended = sum(r["points"] for r in self.records("segment"))
        accounted = np.sort(np.concatenate((kept, *given_up)))
        assert accounted.tolist() == list(range(self.path.points + appended))
        assert not self.box.motion.moving
        assert self.box.motion.settings == dict.fromkeys("xy", self.limits.velocity)
        assert self.box.capture.settings == {"armed": "0", "step": "0"}

    @property
    def kept(self) -> Any:
        """Frames that stand for their points."""
        assert isinstance(self.sink, MemorySink)
        mask = np.ones(len(self.column("point")), np.bool_)
        mask[sorted(self.sink.superseded)] = False
        return mask

    def column(self, name: str) -> Any:
        """All values of a column or of a fact of the rows."""
        assert isinstance(self.sink, MemorySink)
        if (
            name in ("start", "stop", "dwell", "i0", "passes")
            and name not in self.box.capture.signals
        ):
            return np.concatenate([getattr(f.facts, name) for f in self.sink.frames])
        return self.sink.column(name)

    def tuning(self, cause: str | None = None) -> list[dict[str, Any]]:
        """Rows of the tuning stream."""
        rows = [e["row"] for e in self.events if e["event"] == "tuning"]
        return [row for row in rows if cause in (None, row["cause"])]

    def records_in_order(self) -> list[dict[str, Any]]:
        """All records in the file."""
        assert isinstance(self.sink, MemorySink)
        return list(self.sink.tuning)

    def records(self, event: str) -> list[dict[str, Any]]:
        """Records in the file."""
        assert isinstance(self.sink, MemorySink)
        return [r for r in self.sink.tuning if r["event"] == event]
