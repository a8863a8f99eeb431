"""A hundred losses of beam in one map: what is kept, what is flown again, and how much of it.

Noise-free, on the in-memory box and a clock that jumps; the beam is a function of time. Losses
come at random: in lines, in turnarounds, while part of a line is flown again, two in a block,
and flapping. The same map without losses says what must come out.

``refly_ratio_max`` is the largest number of rows thrown away for one loss over what cannot be
avoided: (detection + tau + deceleration) / period + 1, where detection lasts from the loss to
the decision and tau, from the decision to the command, is 0 on this clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.adaptive import (
    AdaptivePilot,
    BeamGuard,
    Composite,
    GoBack,
    LineContext,
    Plan,
    Policy,
    Profile,
    Proposal,
    Rows,
    Situation,
    SteeringConfig,
)
from flyscan.flight import (
    AxisLimits,
    Channel,
    Flight,
    FlightOptions,
    FloatArray,
    IntArray,
    Monitor,
    Path,
    RunFile,
    Steered,
    Trigger,
)
from flyscan.testing import ManualClock, MemoryBox, MemorySink

__all__ = [
    "Beam",
    "FlownMap",
    "LookBack",
    "RingCurrent",
    "beam_figures",
    "fly_map",
    "losses",
]

PERIOD = 1e-3
DUTY = 0.8
ROWS, LENGTH = 200, 10.0
BLOCK = 0.05
LIMITS = AxisLimits(low=-1e3, high=1e3, velocity=400.0, acceleration=2500.0, unit="um")
NOMINAL = 1e6
FULL_RING = 400.0
LOW = 0.5
COMBINED: dict[str, Callable[..., Any]] = {
    "refly_ratio_max": max,
    "beam_same_points": all,
    "beam_setpoints_differ": max,
    "beam_values_differ": max,
    "beam_losses": min,
    "beam_holds": min,
}


@dataclass(frozen=True)
class Beam:
    """Full, except in some intervals of time.

    Args:
        dark: begin and end of each, seconds on the clock, shape ``(n, 2)``, in order.
    """

    dark: FloatArray

    def share(self, begin: FloatArray, seconds: float) -> FloatArray:
        """How much of the beam there was from `begin` on, over `seconds`."""
        edges = np.concatenate(([0.0], self.dark.ravel(), [1e9]))
        level = np.ones(len(edges) - 1)
        level[1::2] = 0.0
        total = np.concatenate(([0.0], np.cumsum(level * np.diff(edges))))
        lit = np.interp(begin + seconds, edges, total) - np.interp(begin, edges, total)
        return lit / seconds

    def dark_at(self, time: float) -> bool:
        """Whether there is none."""
        return bool(np.any((self.dark[:, 0] <= time) & (time < self.dark[:, 1])))


class RingCurrent(Monitor):
    """The ring current as it is published, `update` seconds apart."""

    name = "ring"

    def __init__(self, beam: Beam, clock: ManualClock, update: float) -> None:
        self._beam, self._clock, self._update = beam, clock, update

    @property
    def channel(self) -> Channel:
        return Channel("ring", unit="mA", source="memory://ring")

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close."""

    def join(self, time_ns: IntArray) -> FloatArray:
        seconds = (time_ns - self._clock.epoch_ns) / 1e9
        published = np.floor(seconds / self._update) * self._update
        return FULL_RING * np.array([not self._beam.dark_at(t) for t in published.tolist()])

    def drain(self) -> tuple[IntArray, FloatArray]:
        return np.empty(0, np.int64), np.empty(0)


@dataclass(eq=False)
class LookBack(Policy):
    """Flies the middle of every third line again, from within the line or from its end."""

    _line: LineContext | None = field(default=None, init=False)
    _due: bool = field(default=False, init=False)

    def begin(self, line: LineContext) -> Plan:
        self._line, self._due = line, line.segment % 3 == 1
        return Plan(None, "looks back")

    def tell(self, rows: Rows) -> None:
        """Goes by position alone."""

    def ask(self, now: Situation) -> Proposal | None:
        line = self._line
        if line is None or not self._due or now.held:
            return None
        done = (now.position - line.start) * line.direction / line.length
        # Rows triggered by position while the stage brakes are shorter: their values differ.
        within = line.trigger == "time" and line.segment % 2 == 0 and done >= 0.7
        if not (now.at_end or within):
            return None
        self._due = False
        ends = tuple(line.start + f * (line.stop - line.start) for f in (0.6, 0.3))
        return GoBack("look again", *ends, Profile(ends, (line.velocity, line.velocity)))


@dataclass(frozen=True)
class FlownMap:
    """What came of a map: frames in order, and when the flight was at rest.

    Args:
        point, segment, time: of every frame; time in seconds on the clock, at its trigger.
        position: where it was taken, shape ``(frames, 2)``.
        flux: its incident flux, 1 for full beam.
        value: its counts over the flux.
        kept: whether it stands for its point.
        rests: when the flight came to rest.
        losses: when it was decided to hold for want of beam, and how fast the stage was then.
        duration: seconds from kickoff to the end.
        path_points: points of the path; those of what was appended to it come after.
    """

    point: IntArray
    segment: IntArray
    time: FloatArray
    position: FloatArray
    flux: FloatArray
    value: FloatArray
    kept: Any
    rests: FloatArray
    losses: list[tuple[float, float]]
    duration: float
    path_points: int


def losses(rng: np.random.Generator, number: int) -> Beam:
    """Beam with `number` losses, long and short; some come in twos within a block, some in fours.

    After two of them there is time to notice, to try once in vain, and to fly on.
    """
    dark: list[tuple[float, float]] = []
    t = 0.3
    while len(dark) < number:
        kind = int(rng.integers(4))
        for _ in range(min((1, 1, 2, 4)[kind], number - len(dark))):
            long = float(rng.uniform(0.02, 0.8)) if kind == 0 else float(rng.uniform(1e-3, 0.012))
            dark.append((t, t + long))
            t += long + float(rng.uniform(2e-3, 0.02))
        t += float(rng.exponential(0.3)) + float(rng.choice([0.0, 1.3]))
    return Beam(np.array(dark))


def fly_map(
    beam: Beam, trigger: Trigger, *, lines: int, ring: bool = False, look_back: bool = True
) -> FlownMap:
    """Fly a map of `lines` lines of 200 points under a beam guard."""
    return asyncio.run(_fly(beam, trigger, lines, ring=ring, look_back=look_back))


async def _fly(
    beam: Beam, trigger: Trigger, lines: int, *, ring: bool, look_back: bool
) -> FlownMap:
    clock = ManualClock()
    box = MemoryBox(axes={"x": LIMITS, "y": LIMITS}, clock=clock, block_period=BLOCK, duty=DUTY)
    exposure = DUTY * PERIOD

    def flux(_: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        return NOMINAL * exposure * beam.share(seconds, exposure)

    def counts(at: Mapping[str, FloatArray], seconds: FloatArray) -> FloatArray:
        return (2 + np.sin(3 * at["x"]) * np.cos(at["y"])) * flux(at, seconds)

    box.capture.signals = {"i0": flux, "counts": counts}
    monitored: dict[str, Any] = {"monitor": "ring", "monitor_low": 100.0, "monitor_high": 300.0}
    guard = BeamGuard(low=LOW, **(monitored if ring else {}))
    policy = Composite([guard, LookBack()] if look_back else [guard])
    spec = Linspace("y", 0, lines - 1, lines) * ~Linspace.bounded("x", 0, LENGTH, ROWS)
    path = Path.from_spec(Fly(PERIOD @ spec), trigger=trigger)
    config = SteeringConfig(policy=policy.to_dict(), i0="i0", nominal_i0=NOMINAL)
    sink, rests, holds = MemorySink(), [], []
    seen = ""

    def listen(event: dict[str, Any]) -> None:
        nonlocal seen
        if event["event"] == "state":
            if event["state"] == "held" != seen:
                rests.append(clock.now())
            seen = event["state"]
        elif event["event"] == "tuning":
            row = event["row"]
            if (row["applied"] or {}).get("kind") == "hold":
                holds.append((row["time"], row["old"]["velocity"]))

    flight = Flight(
        box.motion,
        box.capture,
        sink,
        clock,
        path,
        listen,
        monitors=(RingCurrent(beam, clock, 0.1),) if ring else (),
        options=FlightOptions(flush_period=0.5),
        steered=Steered(
            lambda helm: AdaptivePilot(config, helm, clock, policy), "i0", NOMINAL, clock.epoch_ns
        ),
    )
    await sink.open(RunFile("/", "run", (), {}, {}, clock.epoch_ns, tuned=True))
    await clock.run(flight.prepare())
    flight.kickoff()
    began = clock.now()
    await clock.run(flight.wait())
    frames = len(sink.column("point"))
    kept = np.ones(frames, np.bool_)
    kept[sorted(sink.superseded)] = False
    share = sink.column("i0") / (NOMINAL * exposure)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sink.column("counts") / sink.column("i0")
    return FlownMap(
        point=sink.column("point"),
        segment=sink.column("segment"),
        time=(sink.column("time_ns") - clock.epoch_ns) / 1e9,
        position=np.stack((sink.column("x"), sink.column("y")), axis=-1),
        flux=share,
        value=value,
        kept=kept,
        rests=np.array(rests),
        losses=holds,
        duration=clock.now() - began,
        path_points=path.points,
    )


def beam_figures(*, quick: bool) -> dict[str, Any]:
    """The worst of four maps: triggers by time and by position, without and with ring current.

    Of losses and holds it is the fewest in one map; those that come while the flight waits for
    the beam anyway count as losses, too.
    """
    lines, number = (12, 20) if quick else (360, 600)
    found: list[dict[str, Any]] = []
    for seed, trigger in enumerate(Trigger):
        still = fly_map(Beam(np.empty((0, 2))), trigger, lines=lines)
        for ring in (False, True):
            beam = losses(np.random.default_rng((17, seed, ring)), number)
            found.append(compared(fly_map(beam, trigger, lines=lines, ring=ring), still, beam))
    return {name: COMBINED.get(name, sum)(one[name] for one in found) for name in found[0]}


def compared(flown: FlownMap, still: FlownMap, beam: Beam) -> dict[str, Any]:
    """A map with losses against the one without."""
    order, usual = (np.argsort(one.point[one.kept], kind="stable") for one in (flown, still))
    same = np.array_equal(flown.point[flown.kept][order], still.point[still.kept][usual])
    differ = [np.inf, np.inf]
    if same:
        pairs = ((flown.position, still.position), (flown.value, still.value))
        differ = [
            float(np.max(np.abs(a[flown.kept][order] - b[still.kept][usual]))) for a, b in pairs
        ]
    ratios, restarted = _reflown(flown, beam)
    return {
        "refly_ratio_max": max(ratios, default=0.0),
        "beam_bad_rows_kept": int(np.sum(flown.kept & (flown.flux < LOW))),
        "beam_same_points": bool(same),
        "beam_setpoints_differ": differ[0],
        "beam_values_differ": differ[1],
        "beam_lines_restarted": restarted,
        "beam_holds": len(ratios),
        "beam_rows_reflown": int(np.sum(~flown.kept)),
    } | _kinds(flown, beam)


def _reflown(flown: FlownMap, beam: Beam) -> tuple[list[float], int]:
    """Rows thrown away at every rest over what cannot be avoided; lines begun again for nothing."""
    episode = np.searchsorted(flown.rests, flown.time)
    ratios: list[float] = []
    restarted = 0
    for number, rest in enumerate(flown.rests.tolist()):
        gone = np.flatnonzero((episode == number) & ~flown.kept)
        if not len(gone):
            continue
        dark = gone[flown.flux[gone] < LOW]
        begins = beam.dark[:, 0]
        lost = float(flown.time[gone[0]])
        if len(dark):  # else the monitor told first, and rows were taken while braking
            lost = max(lost, float(begins[begins < flown.time[dark[0]] + PERIOD][-1]))
        decided, speed = [one for one in flown.losses if one[0] <= rest + 1e-9][-1]
        avoidable = (decided - lost + speed / LIMITS.acceleration) / PERIOD + 1
        ratios.append(len(gone) / avoidable)
        first = int(flown.point[gone[0]])
        restarted += bool(first % ROWS == 0 and len(dark) and flown.point[dark[0]] > first + 2)
    return ratios, restarted


def _kinds(flown: FlownMap, beam: Beam) -> dict[str, int]:
    """What the stage was doing when losses began, as far as rows tell."""
    begins = beam.dark[:, 0]
    at = np.clip(np.searchsorted(flown.time, begins) - 1, 0, len(flown.time) - 1)
    in_row = (begins >= flown.time[at]) & (begins < flown.time[at] + PERIOD)
    back = flown.point[at] >= flown.path_points
    return {
        "beam_losses": int(np.sum(begins < flown.time[-1])),
        "beam_losses_in_lines": int(np.sum(in_row & ~back)),
        "beam_losses_going_back": int(np.sum(in_row & back)),
        "beam_losses_between": int(np.sum(~in_row)),
        "beam_losses_within_a_block": int(np.sum(in_row[1:] & (np.diff(begins) < BLOCK))),
    }
