"""In-memory motions with one defect each: the test that must catch it, and its complaint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from flyscan.errors import ConfigurationError
from flyscan.flight import (
    AxisLimits,
    JoinOutcome,
    MotionCapabilities,
    Path,
    RestoreStep,
    Sweep,
)
from flyscan.testing import MemoryMotion


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
        if sweep.segment.curved:
            segment = replace(sweep.segment, bounds=None, midpoints=None)
            way = {a: sweep.target[a] - o for a, o in sweep.origin.items()}
            speed = {a: w / (sweep.duration - sweep.ramp) for a, w in way.items()}
            sweep = replace(sweep, segment=segment, velocity=speed)
        await super().start(sweep)


class FliesProfilesUniformly(MemoryMotion):
    async def start(self, sweep: Sweep) -> None:
        await super().start(replace(sweep, segment=replace(sweep.segment, schedule=None)))


class PreparesWhatItCannotFly(MemoryMotion):
    @property
    def capabilities(self) -> MotionCapabilities:
        return replace(super().capabilities, profiles=False)


class FailsTheSlowAxis(MemoryMotion):
    """Moves one axis after the other instead of together."""

    async def start(self, sweep: Sweep) -> None:
        await super().start(sweep)
        if len(sweep.segment.moving) > 1 and not sweep.segment.curved:
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
    (FliesProfilesUniformly, "test_speed_varies_along_a_line_if_promised", "times its profile"),
    (PreparesWhatItCannotFly, "test_speed_varies_along_a_line_if_promised", "DID NOT RAISE"),
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
