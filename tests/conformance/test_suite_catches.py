"""The suites catch what they are for: broken in-memory boxes fail the tests meant for them."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flyscan.errors import ConfigurationError, FlyscanError
from flyscan.flight import (
    AxisLimits,
    Block,
    Channel,
    EndReason,
    JoinOutcome,
    Path,
    RestoreStep,
    Sweep,
    cancel,
)
from flyscan.testing import CaptureSuite, MemoryCapture, MemoryMotion, MotionSuite
from flyscan.testing._bench import opened
from flyscan.testing._suite._flying import flying
from tests.conformance.memory_bench import capture_bench, motion_bench

#: A test that fails says so by one of these; the last is what pytest.raises fails with.
FAILURES = (AssertionError, FlyscanError, KeyError, pytest.fail.Exception)
#: Real seconds after which a call counts as hanging, here.
PATIENCE = 0.5


# --- broken motions --------------------------------------------------------------------------


class MovesOnConnecting(MemoryMotion):
    async def connect(self) -> None:
        self.trajectories["x"].go_to(self._clock.now(), 20.0, self._limits["x"])


class LimitsInBoxUnits(MemoryMotion):
    async def limits(self) -> Mapping[str, AxisLimits]:
        return {a: replace(v, low=1e3 * v.low, high=1e3 * v.high) for a, v in self._limits.items()}


class ChecksNothing(MemoryMotion):
    async def check(self, path: Path) -> None:
        """Whatever you say."""


class MovesAnywhere(MemoryMotion):
    def _check_travel(self, axis: str, target: float) -> None:
        """The sky is the limit."""


class CheckChangesSettings(MemoryMotion):
    async def check(self, path: Path) -> None:
        await super().check(path)
        self.settings["x"] = 1.0


class IgnoresVelocity(MemoryMotion):
    async def move_to(self, axis: str, position: float, velocity: float | None = None) -> None:
        await super().move_to(axis, position)


class StopsShortOfTheOrigin(MemoryMotion):
    async def prepare(self, sweep: Sweep) -> None:
        origin = {axis: place + 0.1 for axis, place in sweep.origin.items()}
        await super().prepare(replace(sweep, origin=origin))


class FliesTooFar(MemoryMotion):
    async def start(self, sweep: Sweep) -> None:
        await super().start(replace(sweep, duration=sweep.duration * 1.05))


class FliesTooFast(MemoryMotion):
    async def start(self, sweep: Sweep) -> None:
        cruise = sweep.duration - 2 * sweep.ramp
        fast = {axis: 2 * v for axis, v in sweep.velocity.items()}
        await super().start(
            replace(sweep, velocity=fast, duration=(cruise + sweep.ramp) / 2 + sweep.ramp)
        )


class JoinsTooEarly(MemoryMotion):
    async def join(self) -> JoinOutcome:
        return JoinOutcome.DONE


class HangsInJoin(MemoryMotion):
    async def join(self) -> JoinOutcome:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class FliesOnWhenHeld(MemoryMotion):
    async def hold(self) -> None:
        self._held = True


class HoldsAtTheTarget(MemoryMotion):
    async def hold(self) -> None:
        self._held = self.moving
        await self._rest()


class ForgetsThatItWasHeld(MemoryMotion):
    async def hold(self) -> None:
        await super().hold()
        self._held = False
        self._targets = {}


class HoldsOffThePath(MemoryMotion):
    async def hold(self) -> None:
        if self.moving:
            await super().hold()
            await self._go({"y": 7.0}, {"y": 10.0})


class MovesWhenHeldAtRest(MemoryMotion):
    async def hold(self) -> None:
        await super().hold()
        await self._go({"x": 3.0, "y": 3.0}, {"x": 100.0, "y": 100.0})


class FliesOnWhenStopped(MemoryMotion):
    async def stop(self) -> None:
        """Not now."""


class HangsInStop(MemoryMotion):
    async def stop(self) -> None:
        if self.moving:
            await asyncio.Event().wait()


class StopsOnce(MemoryMotion):
    stopped = False

    async def stop(self) -> None:
        if self.stopped:
            raise ConfigurationError("stopped already", device=self.name)
        self.stopped = True
        await super().stop()


class SaysDoneWhenStopped(MemoryMotion):
    async def join(self) -> JoinOutcome:
        await self._rest()
        return JoinOutcome.HELD if self._held else JoinOutcome.DONE


class GoesOnWhenCancelled(MemoryMotion):
    def _halt(self) -> None:
        current = asyncio.current_task()
        if current is None or not current.cancelling():
            super()._halt()


class ForgetsToRestore(MemoryMotion):
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        self._found = None


class RestoresRoughly(MemoryMotion):
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        await super().restore(steps)
        self.settings["x"] = float(f"{self.settings['x'] + 0.001:.4g}1")


class IgnoresTheJournal(MemoryMotion):
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        await super().restore()


class SavesTooLate(MemoryMotion):
    async def save(self, path: Path) -> None:
        """Later, later."""

    async def start(self, sweep: Sweep) -> None:
        await super().start(sweep)
        self._found = dict(self.settings)


class SavesAgain(MemoryMotion):
    async def save(self, path: Path) -> None:
        self._found = dict(self.settings)


class ClosesOnce(MemoryMotion):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise ConfigurationError("closed already", device=self.name)
        self.closed = True


class LeavesATaskBehind(MemoryMotion):
    async def connect(self) -> None:
        self._task = asyncio.create_task(asyncio.Event().wait(), name="left behind")


class RetunesFromThePresentVelocity(MemoryMotion):
    async def retune(self, factor: float) -> None:
        await super().retune(factor)
        for axis in self.settings:
            self.settings[axis] *= factor


class RetunesNothing(MemoryMotion):
    async def retune(self, factor: float) -> None:
        """Steady as she goes."""


class CutsCorners(MemoryMotion):
    async def start(self, sweep: Sweep) -> None:
        if sweep.segment.bounds is not None:
            segment = replace(sweep.segment, bounds=None, midpoints=None)
            way = {a: sweep.target[a] - o for a, o in sweep.origin.items()}
            speed = {a: w / (sweep.duration - sweep.ramp) for a, w in way.items()}
            sweep = replace(sweep, segment=segment, velocity=speed)
        await super().start(sweep)


class FailsTheSlowAxis(MemoryMotion):
    """Moves one axis after the other instead of together."""

    async def start(self, sweep: Sweep) -> None:
        await super().start(sweep)
        if len(sweep.segment.moving) > 1 and sweep.segment.bounds is None:
            now = self._clock.now()
            step = [(sweep.duration, 0.0, 0.0), *self._later(sweep)]
            self.trajectories["y"].replace_from(now, step)

    def _later(self, sweep: Sweep) -> list[tuple[float, float, float]]:
        return [(1.0, sweep.target["y"] - sweep.origin["y"], 0.0)]


MOTIONS: list[tuple[type[MemoryMotion], str, str]] = [
    (MovesOnConnecting, "test_connecting_is_idempotent_and_harmless", "still moves after connect"),
    (LeavesATaskBehind, "test_connecting_is_idempotent_and_harmless", "tasks live on after close"),
    (ClosesOnce, "test_it_can_be_closed_at_any_time_and_connected_again", "closed already"),
    (LimitsInBoxUnits, "test_axes_have_limits_and_positions_in_user_units", "travel of x"),
    (CheckChangesSettings, "test_a_sound_path_passes_the_check_which_changes_nothing", "settings"),
    (ChecksNothing, "test_a_path_along_an_unknown_axis_is_refused", "DID NOT RAISE"),
    (ChecksNothing, "test_a_path_out_of_travel_is_refused", "DID NOT RAISE"),
    (MovesAnywhere, "test_a_move_beyond_the_limits_is_refused", "DID NOT RAISE"),
    (IgnoresVelocity, "test_a_move_takes_its_velocity", "a move of .* s took"),
    (GoesOnWhenCancelled, "test_a_cancelled_move_comes_to_rest_on_its_way", "x still moves after"),
    (StopsShortOfTheOrigin, "test_prepare_reaches_the_origin", "expected the origin"),
    (FliesTooFar, "test_every_line_ends_at_its_target", "came to rest at"),
    (JoinsTooEarly, "test_every_line_ends_at_its_target", "x still moves after the end"),
    (HangsInJoin, "test_every_line_ends_at_its_target", "HangsInJoin.join did not end within"),
    (FliesTooFast, "test_a_line_is_flown_at_its_velocity", "too fast"),
    (RetunesNothing, "test_velocity_changes_in_flight_if_promised", "too fast"),
    (RetunesFromThePresentVelocity, "test_velocity_changes_in_flight_if_promised", "too slowly"),
    (CutsCorners, "test_curves_are_flown_if_promised", "off the path"),
    (FailsTheSlowAxis, "test_axes_move_together_if_promised", "off the path"),
    (FliesOnWhenHeld, "test_a_hold_comes_to_rest_on_the_path", "x still moves after hold"),
    (HoldsAtTheTarget, "test_a_hold_comes_to_rest_on_the_path", "it flew on to the end"),
    (ForgetsThatItWasHeld, "test_a_hold_comes_to_rest_on_the_path", "join says done"),
    (HoldsOffThePath, "test_a_hold_comes_to_rest_on_the_path", "off the path"),
    (MovesWhenHeldAtRest, "test_a_hold_is_harmless_when_nothing_moves", "expected"),
    (FliesOnWhenStopped, "test_stop_ends_a_sweep_at_once", "x still moves after stop"),
    (HangsInStop, "test_stop_ends_a_sweep_at_once", "did not end within"),
    (HangsInStop, "test_stop_from_a_cancelled_join", "did not end within"),
    (StopsOnce, "test_stop_is_harmless_at_rest", "stopped already"),
    (SaysDoneWhenStopped, "test_stop_ends_a_sweep_at_once", "join says done of a sweep that was"),
    (GoesOnWhenCancelled, "test_a_cancelled_prepare_leaves_the_axes_at_rest", "x still moves|went"),
    (ForgetsToRestore, "test_restore_puts_back_exactly", "settings differ after restore"),
    (RestoresRoughly, "test_restore_puts_back_exactly", "settings differ after restore"),
    (SavesTooLate, "test_settings_are_saved_before_any_is_changed", "save.* remembers nothing"),
    (SavesAgain, "test_a_second_flight_restores_what_the_first_found", "settings differ after"),
    (IgnoresTheJournal, "test_a_fresh_instance_restores_after_a_crash", "settings differ after"),
]


# --- broken captures -------------------------------------------------------------------------


class LosesARow(MemoryCapture):
    """A row of the box never comes."""

    def _block(self) -> Block:
        block = super()._block()
        return _picked(block, np.flatnonzero(np.arange(block.first, block.stop) != 7))


class RepeatsARow(MemoryCapture):
    def _block(self) -> Block:
        block = super()._block()
        rows = np.arange(len(block))
        return _picked(block, np.sort(np.append(rows, rows[:1])))


class LosesATrigger(MemoryCapture):
    """The trigger of point 7 is lost; a spurious one at the end makes up for the count."""

    def _block(self) -> Block:
        block = super()._block()
        x = block.columns["x"].copy()
        late = np.arange(block.first, block.stop) >= 7
        x[late] += np.sign(x[-1] - x[0] if len(x) > 1 else 1.0) * 0.5
        return replace(block, columns={**block.columns, "x": x})


class SwapsRows(MemoryCapture):
    def _block(self) -> Block:
        block = super()._block()
        return _picked(block, np.arange(len(block))[::-1])


class ExposesNothing(MemoryCapture):
    def _block(self) -> Block:
        block = super()._block()
        return replace(block, exposure=np.zeros(len(block)))


class WrongDtype(MemoryCapture):
    def channels(self) -> tuple[Channel, ...]:
        return tuple(replace(channel, dtype="<i4") for channel in super().channels())


class SameNameTwice(MemoryCapture):
    def channels(self) -> tuple[Channel, ...]:
        return super().channels() * 2


class CountsOneMore(MemoryCapture):
    async def disarm(self) -> int:
        return await super().disarm() + 1


class NeverEnds(MemoryCapture):
    async def blocks(self) -> AsyncIterator[Block]:
        async for block in super().blocks():
            yield block
        await asyncio.Event().wait()


class KeepsRowsUntilDisarmed(MemoryCapture):
    async def blocks(self) -> AsyncIterator[Block]:
        await self._ending.wait()
        async for block in super().blocks():
            yield block


class TriggersWhileHeld(MemoryCapture):
    async def hold(self) -> None:
        """A train does not stop for anybody."""


class TriggersWhenWithdrawn(MemoryCapture):
    async def withdraw(self) -> None:
        """They are mine."""


class NeverGoesBack(MemoryCapture):
    async def begin(self, sweep: Sweep) -> None:
        await super().begin(replace(sweep, from_point=max(self._point, sweep.from_point)))


class ForgetsItsPlaceWhenHeld(MemoryCapture):
    async def hold(self) -> None:
        await super().hold()
        self._point = max(0, self._point - 1)


class StartsFromTheBeginning(MemoryCapture):
    async def arm(self, path: Path, from_point: int) -> None:
        await super().arm(path, 0)

    async def begin(self, sweep: Sweep) -> None:
        first = sweep.segment.first_point
        await super().begin(replace(sweep, from_point=first))


class ReachesNothing(MemoryCapture):
    async def reached(self) -> int:
        return 0 if self._segment is None or self._point < 20 else self._point


class RetunesInSecret(MemoryCapture):
    async def retune(self, factor: float) -> None:
        """Promised nothing, refuses nothing."""


class AnyoneMayArm(MemoryCapture):
    async def check(self, path: Path) -> None:
        """Come in."""


class TriggersTooFast(MemoryCapture):
    def validate(self, path: Path) -> tuple[str, ...]:
        return ()


class BelievesAnyEncoder(MemoryCapture):
    async def _compare(self, *_: Any) -> float:
        return 0.0


class HangsInCaptureStop(MemoryCapture):
    async def stop(self) -> None:
        if self._running:
            await asyncio.Event().wait()


class RunsOnWhenStopped(MemoryCapture):
    async def stop(self) -> None:
        """Not now."""


class EndsWithoutAReason(MemoryCapture):
    @property
    def end_reason(self) -> EndReason | None:
        return None


class ForgetsToRestoreTriggers(MemoryCapture):
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        self._found = None


class IgnoresTheCaptureJournal(MemoryCapture):
    async def restore(self, steps: tuple[RestoreStep, ...] | None = None) -> None:
        await super().restore()


class ArmsOnConnecting(MemoryCapture):
    async def connect(self) -> None:
        self.settings["step"] = "1"


def _picked(block: Block, rows: Any) -> Block:
    """Some rows of a block, in the order given."""
    columns = {name: column[rows] for name, column in block.columns.items()}
    return Block(block.first, block.time_ns[rows], block.exposure[rows], columns)


LINE = "test_every_point_of_a_line_has_one_row"
CAPTURES: list[tuple[type[MemoryCapture], str, str]] = [
    (ArmsOnConnecting, "test_connecting_is_idempotent_and_harmless", "settings differ after conn"),
    (SameNameTwice, "test_channels_and_capabilities_are_sound", "channels called alike"),
    (TriggersTooFast, "test_a_path_too_fast_for_the_triggers_is_refused", "DID NOT RAISE"),
    (TriggersTooFast, "test_positions_of_an_unknown_axis_are_refused", "DID NOT RAISE"),
    (AnyoneMayArm, "test_an_armed_box_is_busy_for_others", "DID NOT RAISE"),
    (BelievesAnyEncoder, "test_encoders_are_verified_by_a_move", "DID NOT RAISE"),
    (LosesARow, LINE, "gaps between blocks|39 rows|19 rows"),
    (RepeatsARow, LINE, "gaps between blocks|rows for"),
    (LosesATrigger, LINE, "steps from point"),
    (SwapsRows, LINE, "times of rows do not increase"),
    (ExposesNothing, LINE, "rows without live time"),
    (WrongDtype, LINE, "described as"),
    (CountsOneMore, LINE, "counts other rows"),
    (NeverEnds, LINE, "did not end within 0.5 s after disarm"),
    (EndsWithoutAReason, LINE, "no reason for the end"),
    (KeepsRowsUntilDisarmed, "test_rows_come_while_the_box_is_armed", "0 rows for"),
    (StartsFromTheBeginning, "test_a_flight_from_a_later_point", "rows|says"),
    (ReachesNothing, "test_what_was_reached_is_known_while_flying", "is not live"),
    (RetunesInSecret, "test_the_step_changes_in_flight_only_if_promised", "DID NOT RAISE"),
    (TriggersWhileHeld, "test_nothing_is_triggered_while_held", "triggered while held"),
    (
        TriggersWhenWithdrawn,
        "test_withdrawn_nothing_is_triggered_wherever_the_stage_goes",
        "assert",
    ),
    (NeverGoesBack, "test_going_back_triggers_points_again", "assert"),
    (ForgetsItsPlaceWhenHeld, "test_a_raster_held_often", "rows|steps from point|increase|says"),
    (HangsInCaptureStop, "test_stop_ends_a_capture_at_once", "stop did not end|thrice did not end"),
    (RunsOnWhenStopped, "test_stop_ends_a_capture_at_once", "did not end within 0.5 s after stop"),
    (ForgetsToRestoreTriggers, "test_restore_puts_back_exactly", "settings differ after restore"),
    (IgnoresTheCaptureJournal, "test_a_fresh_instance_restores_after_a_crash", "settings differ"),
]


# --- the proof -------------------------------------------------------------------------------


def cases(test: Any) -> list[dict[str, Any]]:
    """The arguments a suite's test is called with, beyond its bench."""
    found: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            name, values = mark.args[:2]
            found = [given | {name: value} for given in found for value in values]
    return found


def wanted(test: Any) -> str:
    """The fixture a suite's test asks for."""
    return "flight" if "flight" in inspect.signature(test).parameters else "bench"


async def failure(
    run: Any, making: AbstractAsyncContextManager[Any], fixture: str, given: dict[str, Any]
) -> str | None:
    """What a suite's test says of a bench; None if it passes."""
    before = asyncio.all_tasks()
    try:
        async with opened(making) as bench:
            if fixture == "flight":
                async with flying(bench) as flight:
                    await run(None, flight, **given)
            else:
                await run(None, bench, **given)
    except FAILURES as error:
        return " / ".join(chain(error))
    finally:
        await cancel(*(asyncio.all_tasks() - before))
    return None


def chain(error: BaseException | None) -> Iterator[str]:
    """Texts of an error and of those it followed."""
    while error is not None:
        yield str(error)
        error = error.__context__


def assert_caught(complaints: list[str | None], expected: str) -> None:
    """One of the complaints must be the expected one."""
    assert any(text is not None and re.search(expected, text) for text in complaints), complaints


@pytest.mark.parametrize(
    ("broken", "test", "complaint"), MOTIONS, ids=lambda part: getattr(part, "__name__", None)
)
async def test_a_broken_motion_is_caught(broken: Any, test: str, complaint: str) -> None:
    run = getattr(MotionSuite, test)
    complaints = [
        await failure(run, motion_bench(broken, PATIENCE), "bench", given) for given in cases(run)
    ]
    assert_caught(complaints, complaint)


@pytest.mark.parametrize(
    ("broken", "test", "complaint"), CAPTURES, ids=lambda part: getattr(part, "__name__", None)
)
async def test_a_broken_capture_is_caught(broken: Any, test: str, complaint: str) -> None:
    run = getattr(CaptureSuite, test)
    complaints = [
        await failure(run, capture_bench(broken, PATIENCE), wanted(run), given)
        for given in cases(run)
    ]
    assert_caught(complaints, complaint)


async def test_the_same_tests_pass_a_sound_box() -> None:
    for test in {test for _, test, _ in MOTIONS}:
        run = getattr(MotionSuite, test)
        for given in cases(run):
            assert await failure(run, motion_bench(), "bench", given) is None
    for test in {test for _, test, _ in CAPTURES}:
        run = getattr(CaptureSuite, test)
        for given in cases(run):
            assert await failure(run, capture_bench(), wanted(run), given) is None
