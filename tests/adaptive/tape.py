"""Steered flights on paper, written down in the way a flight writes them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.adaptive import (
    Asked,
    Began,
    Decision,
    Ended,
    Finish,
    GoBack,
    GuardRail,
    Hold,
    LineContext,
    Plan,
    Policy,
    Profile,
    Proposal,
    Resume,
    Retune,
    Rows,
    Situation,
    Steering,
    SwitchedOff,
    Told,
    proposal_from_dict,
    rows_of,
)
from flyscan.errors import CaptureError
from flyscan.flight import Block, Channel, Frames, Path, RowFacts, RunFile
from flyscan.storage import Hdf5Sink
from tests.adaptive.lines import RAIL

EPOCH_NS = 1_700_000_000_123_456_789
PATH = Path.from_spec(Fly(Linspace("x", 0.0, 1.0, 500)), period=1 / 500)
FLUSH = object()


@dataclass(eq=False)
class Dice(Policy):
    """Decides by chance, and by every bit of everything it was told; sometimes nonsense."""

    seed: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.seen = 0

    def params(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def begin(self, line: LineContext) -> Plan:
        rng = self._throw()
        if rng.random() < 0.5:
            return Plan(None, f"uniform {self.seen!r}")
        ends, speed = (line.start, line.stop), 0.5 + float(rng.random())
        return Plan(Profile(ends, (speed, speed)), f"profile {self.seen!r}", gain=self.seen)

    def tell(self, rows: Rows) -> None:
        if self._throw().random() < 0.05:
            raise CaptureError("these rows make no sense")
        self.take(rows)

    def take(self, rows: Rows) -> None:
        """Let every bit matter from now on."""
        parts = [rows.point, rows.start, rows.stop, rows.time, rows.live, rows.pass_number]
        parts += [part for part in (rows.i0, rows.good) if part is not None]
        parts += [*rows.counts.values(), *rows.signals.values(), np.array([rows.first])]
        for part in parts:
            self.seen = zlib.crc32(np.ascontiguousarray(part).tobytes(), self.seen)

    def ask(self, now: Situation) -> Proposal | None:
        rng = self._throw()
        reason = f"{self.seen!r} at {now.time!r}"
        speed = float(rng.choice([0.7, 1.3, np.nan, -1.0, 1e9]))
        choices: list[Proposal | None] = [
            None,
            Retune(reason, velocity=speed),
            Retune(reason, step=float(rng.random())),
            GoBack(reason, 0.4, 0.2, Profile((0.4, 0.3, 0.2), (1.0, 0.5, 1.0))),
            Hold(reason, refly_from=int(rng.integers(-3, 500))),
            Resume(reason),
            Finish(reason, line_only=bool(rng.random() < 0.5)),
        ]
        return choices[int(rng.integers(len(choices)))]

    def end(self) -> dict[str, Any]:
        return {"sum": self.seen}

    def _throw(self) -> np.random.Generator:
        self.calls += 1
        return np.random.default_rng((self.seed, self.calls))


@dataclass(eq=False)
class Script(Policy):
    """Proposes what is written for a line, one after the other; says what it was told by then.

    Args:
        script: line to proposals, JSON-able; None stands for going on.
        at_end: the same for the end of a line.
    """

    script: Mapping[str, Sequence[Mapping[str, Any] | None]]
    at_end: Mapping[str, Sequence[Mapping[str, Any] | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice, self._line, self._asked = Dice(), "", [0, 0]

    def begin(self, line: LineContext) -> Plan:
        self._line, self._asked = str(line.segment), [0, 0]
        return Plan(None, "scripted")

    def tell(self, rows: Rows) -> None:
        self._dice.take(rows)

    def ask(self, now: Situation) -> Proposal | None:
        if now.held:
            return Resume(f"after {self._dice.seen}")
        lines = (self.at_end if now.at_end else self.script).get(self._line, ())
        self._asked[now.at_end] += 1
        number = self._asked[now.at_end] - 1
        data = lines[number] if number < len(lines) else None
        if data is None:
            return None
        return replace(proposal_from_dict(data), reason=f"after {self._dice.seen}")


class Tape(Steering):
    """Writes down every call, and shows the policy what the file will have of the rows."""

    def __init__(
        self, policy: Policy, rail: GuardRail = RAIL, *, flight: int = 0, first: int = 0
    ) -> None:
        super().__init__(policy, rail)
        self.flight = flight
        self.frames = first
        self.steps: list[Any] = []
        self.event({"event": "started", "policy": policy.to_dict(), "rail": asdict(rail)})

    def event(self, record: Mapping[str, Any]) -> None:
        """Note a record, and what was decided since the last one."""
        self.steps.append({**record, "flight": self.flight})

    def begin(self, line: LineContext, time: float = 0.0) -> Plan:
        plan = super().begin(line, time)
        self._called(Began(line, time).to_dict())
        return plan

    def tell(self, rows: Rows, time: float = 0.0) -> None:
        """Hand over rows, as captured at their times."""
        frames = self.captured(rows)
        again = self.rows(frames, flux=rows.i0 is not None, other=rows.good is not None)
        self.steps.append(frames)
        super().tell(again, time)
        self._called(Told(again, time).to_dict())

    def ask(self, now: Situation) -> Decision | None:
        decision = super().ask(now)
        self._called(Asked(now).to_dict())
        return decision

    def end(self) -> dict[str, Any]:
        summary = super().end()
        self._called(Ended(summary).to_dict())
        return summary

    def stop(self, fault: str, time: float) -> None:
        """Somebody switches the policy off."""
        self.switch_off(fault, time, cause="late")
        self._called(SwitchedOff(fault, time).to_dict())

    def captured(self, rows: Rows) -> Frames:
        """Rows as a capture would have delivered them."""
        n = len(rows)
        nan = np.full(n, np.nan)
        facts = RowFacts(
            np.asarray(rows.start),
            np.asarray(rows.stop),
            np.asarray(rows.live),
            nan if rows.i0 is None else rows.i0,
            rows.pass_number,
        )
        time_ns = EPOCH_NS + np.round(1e9 * (rows.time - rows.live)).astype(np.int64)
        columns = {name: column.astype("<f8") for name, column in rows.counts.items()}
        signals = {name: column.astype("<f4") for name, column in rows.signals.items()}
        block = Block(0, time_ns, np.asarray(rows.live), {**columns, **signals})
        point = np.minimum(rows.point, PATH.points - 1)
        return Frames(self.frames, self.flight, point, np.zeros(n, np.int64), block, facts=facts)

    def rows(self, frames: Frames, *, flux: bool, other: bool) -> Rows:
        """What a flight tells of frames."""
        block, facts = frames.block, frames.facts
        assert facts is not None
        self.frames += len(frames)
        time = (block.time_ns - EPOCH_NS) / 1e9 + block.exposure
        return rows_of(
            frames.first_frame, frames.point, time, block.exposure, facts, block.columns,
            flux=flux, other=other,
        )  # fmt: skip

    def _called(self, record: Mapping[str, Any]) -> None:
        self.event(record)
        noted = sum(1 for s in self.steps if isinstance(s, dict) and s["event"] == "decided")
        for decision in self.decisions[noted:]:
            self.event({"event": "decided", "decision": decision.to_dict()})


async def store(
    directory: object,
    *tapes: Tape,
    channels: tuple[str, ...] = ("y",),
    signals: tuple[str, ...] = (),
) -> Hdf5Sink:
    """Write tapes as the flights of a run; the sink is still open."""
    columns = (*(Channel(c) for c in channels), *(Channel(s, "<f4") for s in signals))
    sink = Hdf5Sink(flush_interval=60)
    await sink.open(RunFile(str(directory), "run", columns, {"x": "um"}, {}, EPOCH_NS, tuned=True))
    for tape in tapes:
        await sink.begin_flight(tape.flight, PATH.to_dict())
        for step in tape.steps:
            if step is FLUSH:
                await sink.flush()
            elif isinstance(step, Frames):
                await sink.append(step)
            else:
                await sink.add_tuning(step)
    return sink
