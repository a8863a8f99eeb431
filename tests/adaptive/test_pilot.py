"""Steered flights on the in-memory box: policies decide, the flight stays exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace

from flyscan.adaptive import (
    AdaptivePilot,
    Finish,
    GoBack,
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
    SteeringConfig,
)
from flyscan.flight import AxisLimits, Flight, FlightOptions, Path, RunFile, State, Steered, Trigger
from flyscan.testing import ManualClock, MemoryBox, MemorySink

PERIOD = 0.01
MAP = Fly(PERIOD @ (Linspace("y", 0, 2, 3) * ~Linspace("x", 0.25, 9.75, 20)))
LENGTH, POINTS, LINES = 10.0, 20, 3


@dataclass(eq=False)
class Scripted(Policy):
    """Proposes what a test wants, at the block it wants it."""

    profile: Profile | None = None
    script: dict[int, list[Proposal]] = field(default_factory=dict[int, list[Proposal]])
    at_end: dict[int, list[Proposal]] = field(default_factory=dict[int, list[Proposal]])
    told: list[Rows] = field(default_factory=list[Rows])
    asked: list[Situation] = field(default_factory=list[Situation])
    lines: list[LineContext] = field(default_factory=list[LineContext])

    def begin(self, line: LineContext) -> Plan:
        self.lines.append(line)
        profile = self.profile
        if profile is not None and line.direction < 0:
            profile = Profile(profile.position[::-1], profile.velocity)
        return Plan(profile, "scripted")

    def tell(self, rows: Rows) -> None:
        self.told.append(rows)

    def ask(self, now: Situation) -> Proposal | None:
        self.asked.append(now)
        script = self.at_end if now.at_end else self.script
        waiting = script.get(self.lines[-1].segment, [])
        return waiting.pop(0) if waiting else None

    def params(self) -> dict[str, Any]:
        return {}


CURRENT: list[Policy] = []


def scripted() -> Policy:
    """What the configuration of a test names."""
    return CURRENT[-1]


class Rehearsal:
    """A steered flight with everything around it."""

    def __init__(
        self,
        policy: Policy,
        trigger: Trigger = Trigger.TIME,
        monkeypatch: pytest.MonkeyPatch | None = None,
        block_period: float = 0.05,
        acceleration: float = 1000.0,
        **config: Any,
    ) -> None:
        self.clock = ManualClock()
        limits = AxisLimits(-1e3, 1e3, velocity=100.0, acceleration=acceleration, unit="um")
        self.box = MemoryBox(
            axes={"x": limits, "y": limits}, clock=self.clock, block_period=block_period, duty=1.0
        )
        self.policy = policy
        self.sink = MemorySink()
        self.events: list[dict[str, Any]] = []
        self.path = Path.from_spec(MAP, trigger=trigger)
        settings = SteeringConfig(policy={"class": "unused"}, **config)
        self.flight = Flight(
            self.box.motion,
            self.box.capture,
            self.sink,
            self.clock,
            self.path,
            self.events.append,
            options=FlightOptions(flush_period=0.05),
            steered=Steered(lambda helm: AdaptivePilot(settings, helm, self.clock, policy)),
        )

    async def fly(self) -> None:
        await self.sink.open(RunFile("/", "run", (), {}, {}, 0, tuned=True))
        await self.clock.run(self.flight.prepare())
        self.flight.kickoff()
        await self.clock.run(self.flight.wait())

    def check_accounts(self) -> None:
        """Every point of path and detours kept once or given up, nothing left behind."""
        assert self.flight.state is State.DONE
        rows = {r.segment: r for r in self.sink.ledger}  # a later row replaces an earlier one
        assert all(row.closes for row in rows.values()), rows
        numbers = [f.first_frame for f in self.sink.frames]
        assert numbers == np.cumsum([0, *(len(f) for f in self.sink.frames[:-1])]).tolist()
        assert not self.box.motion.moving
        assert self.box.motion.settings == {"x": 100.0, "y": 100.0}
        assert self.box.capture.settings == {"armed": "0", "step": "0"}

    def tuning(self) -> list[dict[str, Any]]:
        return [e["row"] for e in self.events if e["event"] == "tuning"]

    def records(self, event: str) -> list[dict[str, Any]]:
        return [r for r in self.sink.tuning if r["event"] == event]

    def facts(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(f.facts, name) for f in self.sink.frames])


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_a_policy_without_wishes_changes_nothing(trigger: Trigger) -> None:
    r = Rehearsal(Scripted(), trigger)
    await r.fly()
    r.check_accounts()
    assert r.sink.column("point").tolist() == list(range(POINTS * LINES))
    assert [len(r.records(e)) for e in ("started", "began", "ended")] == [1, 3, 3]
    told = sum(len(rows) for rows in r.policy.told)  # type: ignore[attr-defined]
    assert told == POINTS * LINES
    steps = np.abs(r.facts("stop") - r.facts("start"))
    assert steps == pytest.approx(LENGTH / POINTS, rel=1e-3)
    assert r.facts("dwell") == pytest.approx(PERIOD, rel=1e-3)
    assert [row["cause"] for row in r.tuning()] == ["plan"] * LINES


class Onlooker(Scripted):
    """Looks where the stage is when it is asked at the end of a line."""

    def ask(self, now: Situation) -> Proposal | None:
        if now.at_end:
            y = self.stage.trajectories["y"]  # type: ignore[attr-defined]
            self.seen.append(y.at(self.clock.now())[0])  # type: ignore[attr-defined]
        return super().ask(now)


async def test_the_stage_goes_to_the_next_line_while_the_last_rows_come() -> None:
    policy = Onlooker()
    r = Rehearsal(policy, block_period=1.0)
    policy.stage, policy.clock, policy.seen = r.box.motion, r.clock, []  # type: ignore[attr-defined]
    await r.fly()
    r.check_accounts()
    assert policy.seen == pytest.approx([1.0, 2.0, 2.0])  # type: ignore[attr-defined]


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_it_comes_back_when_those_rows_ask_for_it(trigger: Trigger) -> None:
    back = GoBack("look again", 4.0, 2.0, Profile((4.0, 2.0), (10.0, 10.0)))
    r = Rehearsal(Scripted(at_end={0: [back]}), trigger, block_period=1.0)
    await r.fly()
    r.check_accounts()
    again = r.facts("passes") == 1
    assert again.sum() == (4 if trigger is Trigger.POSITION else 20)
    segments = np.concatenate([f.segment for f in r.sink.frames])
    assert set(segments[again].tolist()) == {LINES}
    frames = np.flatnonzero(again)
    assert frames[0] == POINTS  # right after its line


async def test_a_hold_on_that_way_is_a_hold() -> None:
    r = Rehearsal(Scripted(), block_period=1.0)
    await r.sink.open(RunFile("/", "run", (), {}, {}, 0, tuned=True))
    await r.clock.run(r.flight.prepare())
    r.flight.kickoff()
    while not r.box.motion.trajectories["y"].at(r.clock.now())[1]:
        await r.clock.advance(0.002)
    await r.clock.run(r.flight.hold("user"))
    held = r.box.motion.trajectories["y"].at(r.clock.now())
    assert 0 < held[0] < 1
    assert held[1] == 0
    await r.clock.advance(5.0)
    assert r.box.motion.trajectories["y"].at(r.clock.now()) == held
    r.flight.release("user")
    await r.clock.run(r.flight.wait())
    r.check_accounts()
    assert r.sink.column("point").tolist() == list(range(POINTS * LINES))


async def test_a_profile_puts_rows_where_it_is_slow() -> None:
    speed = Profile((0.0, 2.0, 4.0, 6.0, 8.0, 10.0), (65.0, 65.0, 30.0, 30.0, 65.0, 65.0))
    speed = speed.stretched(POINTS * PERIOD / speed.duration)
    r = Rehearsal(Scripted(profile=speed), Trigger.TIME)
    await r.fly()
    r.check_accounts()
    x = r.sink.column("x")
    assert len(x) == POINTS * LINES
    middle = (x > 4) & (x < 6)
    assert middle.sum() > 1.4 * (POINTS * LINES / 5)
    lengths = np.abs(r.facts("stop") - r.facts("start"))
    assert lengths.sum() == pytest.approx(LENGTH * LINES, rel=0.02)
    at = (r.facts("stop") + r.facts("start")) / 2
    assert lengths / PERIOD == pytest.approx(speed.at(at), rel=0.25)


async def test_points_by_position_stay_where_they_are_under_a_profile() -> None:
    speed = Profile((0.0, 5.0, 10.0), (60.0, 20.0, 60.0))
    r = Rehearsal(Scripted(profile=speed), Trigger.POSITION)
    await r.fly()
    r.check_accounts()
    assert r.sink.column("point").tolist() == list(range(POINTS * LINES))
    times = r.sink.column("time_ns")[:POINTS] / 1e9
    dwell = np.diff(times)
    assert dwell[9] > 1.5 * dwell[0]
    begins = np.arange(POINTS) * LENGTH / POINTS
    assert r.facts("start")[:POINTS] == pytest.approx(begins, abs=0.05)


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_going_back_in_a_line_adds_rows_and_goes_on_where_it_was(trigger: Trigger) -> None:
    back = GoBack("look again", 4.0, 2.0, Profile((4.0, 2.0), (10.0, 10.0)))
    r = Rehearsal(Scripted(script={0: [back]}), trigger)
    await r.fly()
    r.check_accounts()
    passes = r.facts("passes")
    again = passes == 1
    expected = 20 if trigger is Trigger.TIME else 4
    assert again.sum() == expected
    x = r.sink.column("x")[again]
    assert np.all(np.diff(x) < 0)
    assert (x.min(), x.max()) == (pytest.approx(2.0, abs=0.5), pytest.approx(4.0, abs=0.5))
    line = r.sink.column("point")[~again]
    assert line.tolist() == list(range(POINTS * LINES))
    (segment,) = r.records("segment")
    assert (segment["line"], segment["pass"], segment["points"]) == (0, 1, expected)
    assert segment["first_point"] == POINTS * LINES
    (told,) = [row for row in r.tuning() if row["cause"] == "block"]
    assert told["applied"]["kind"] == "go_back"
    assert told["latency"] >= 0


async def test_going_back_at_the_end_of_a_line() -> None:
    back = GoBack("look again", 4.0, 2.0, Profile((4.0, 3.0, 2.0), (10.0, 20.0, 10.0)))
    r = Rehearsal(Scripted(at_end={1: [back]}), Trigger.TIME)
    await r.fly()
    r.check_accounts()
    segments = np.concatenate([f.segment for f in r.sink.frames])
    order = segments[np.flatnonzero(np.diff(segments, prepend=-1))].tolist()
    assert order == [0, 1, 3, 2]


async def test_faster_rows_by_time_leave_points_over_which_are_given_up() -> None:
    calm: list[Proposal] = [Retune("calm", velocity=75.0)]
    r = Rehearsal(Scripted(script={0: calm}), Trigger.TIME, acceleration=1e5)
    await r.fly()
    r.check_accounts()
    (waived,) = r.records("waived")
    assert waived["stop"] == POINTS
    assert 0 < waived["first"] < POINTS
    first = next(row for row in r.sink.ledger if row.segment == 0)
    assert first.waived == POINTS - waived["first"]
    lengths = np.abs(r.facts("stop") - r.facts("start"))
    assert lengths.max() == pytest.approx(0.75, rel=0.1)


async def test_slower_rows_by_time_need_more_points_which_are_added() -> None:
    r = Rehearsal(Scripted(script={0: [Retune("structure", velocity=25.0)]}), Trigger.TIME)
    await r.fly()
    r.check_accounts()
    (rest,) = r.records("segment")
    assert (rest["line"], rest["pass"]) == (0, 0)
    assert rest["stop"]["x"] == pytest.approx(LENGTH)
    own = np.concatenate([f.segment for f in r.sink.frames])
    first = np.isin(own, (0, rest["index"]))
    ends = np.sort(np.concatenate((r.facts("start")[first], r.facts("stop")[first])))
    assert (ends[0], ends[-1]) == (pytest.approx(0, abs=0.1), pytest.approx(LENGTH, abs=0.1))
    starts = np.sort(r.facts("start")[first])
    assert np.diff(starts).max() < 0.6, "nothing of the line is left out"


async def test_the_rest_of_a_stretched_line_changes_speed_from_what_it_is_flown_at() -> None:
    policy = Scripted(script={0: [Retune("structure", velocity=25.0)]})

    def ask(now: Situation) -> Proposal | None:
        if now.next_point >= POINTS * LINES and not now.at_end and now.velocity < 29:
            return Retune("less of it", velocity=30.0)
        return Scripted.ask(policy, now)

    policy.ask = ask  # type: ignore[method-assign]
    r = Rehearsal(policy, Trigger.TIME, acceleration=1e5)
    await r.fly()
    r.check_accounts()
    rest = np.concatenate([f.segment for f in r.sink.frames]) == LINES
    lengths = np.abs(r.facts("stop") - r.facts("start"))[rest]
    assert lengths[0] == pytest.approx(0.25, rel=0.05)
    assert np.median(lengths) == pytest.approx(0.3, rel=0.02)
    assert lengths.max() < 0.31


async def test_speed_by_position_leaves_points_where_they_are() -> None:
    r = Rehearsal(Scripted(script={0: [Retune("slow", velocity=25.0)]}), Trigger.POSITION)
    await r.fly()
    r.check_accounts()
    assert r.sink.column("point").tolist() == list(range(POINTS * LINES))
    assert r.records("segment") == []
    dwell = np.diff(r.sink.column("time_ns")[:POINTS] / 1e9)
    assert dwell[-1] == pytest.approx(2 * PERIOD, rel=0.05)
    (tuned,) = [row for row in r.tuning() if row["cause"] == "block"]
    assert 0 < tuned["effective_point"] < POINTS


async def test_a_hold_discards_rows_and_flies_them_again_when_resumed() -> None:
    script: dict[int, list[Proposal]] = {1: [Hold("no beam", refly_from=POINTS + 2)]}
    policy = Scripted(script=script)
    r = Rehearsal(policy, Trigger.POSITION)

    def ask(now: Situation) -> Proposal | None:
        if now.held:
            return Resume("beam is back")
        return Scripted.ask(policy, now)

    policy.ask = ask  # type: ignore[method-assign]
    await r.fly()
    r.check_accounts()
    points = r.sink.column("point").tolist()
    again = [p for p in set(points) if points.count(p) == 2]
    assert min(again) == POINTS + 2
    assert sorted(set(points)) == list(range(POINTS * LINES))
    assert len(points) == POINTS * LINES + len(again)
    first = {points.index(p) for p in again}
    assert r.sink.superseded == first


@pytest.mark.parametrize("line_only", [True, False])
async def test_finishing_early_gives_up_what_is_left(line_only: bool) -> None:
    finish = Finish("enough", line_only=line_only)
    r = Rehearsal(Scripted(script={1: [finish]}), Trigger.POSITION)
    await r.fly()
    r.check_accounts()
    points = set(r.sink.column("point").tolist())
    second = {p for p in points if POINTS <= p < 2 * POINTS}
    assert 0 < len(second) < POINTS
    assert bool(points & set(range(2 * POINTS, 3 * POINTS))) == line_only
    given_up = {p for w in r.records("waived") for p in range(w["first"], w["stop"])}
    assert points | given_up == set(range(POINTS * LINES))
    assert not points & given_up


async def test_a_policy_that_raises_is_switched_off_and_the_flight_goes_on() -> None:
    policy = Scripted()

    def ask(_now: Situation) -> Proposal | None:
        raise ZeroDivisionError("no counts")

    policy.ask = ask  # type: ignore[method-assign]
    r = Rehearsal(policy, Trigger.POSITION)
    await r.fly()
    r.check_accounts()
    assert r.sink.column("point").tolist() == list(range(POINTS * LINES))
    (fault,) = [row for row in r.tuning() if row["cause"] == "fault"]
    assert "no counts" in fault["reason"]
    assert "uniformly" in fault["reason"]


@pytest.mark.parametrize("stretched", [True, False])
async def test_a_lost_row_is_flown_again_where_its_place_is_known(stretched: bool) -> None:
    """Once the speed was changed on the way nobody knows where the row would have been."""
    script: dict[int, list[Proposal]] = {0: [Retune("calm", velocity=60.0)]} if stretched else {}
    r = Rehearsal(Scripted(script=script), Trigger.TIME)
    r.box.capture.lose = {10: 1}
    await r.fly()
    r.check_accounts()
    assert (10 in r.sink.column("point")) is not stretched
    given_up = {p for w in r.records("waived") for p in range(w["first"], w["stop"])}
    assert (10 in given_up) is stretched
