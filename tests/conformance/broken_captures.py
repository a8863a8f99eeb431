"""In-memory captures with one defect each: the test that must catch it, and its complaint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np

from flyscan.flight import (
    Block,
    CaptureCapabilities,
    Channel,
    EndReason,
    Path,
    RestoreStep,
    Sweep,
)
from flyscan.testing import MemoryCapture


class LosesARow(MemoryCapture):
    """A row of the box never comes."""

    def _block(self) -> Block:
        block = super()._block()
        return _picked(block, np.flatnonzero(np.arange(block.first, block.stop) != 7))


class HidesALostTrigger(MemoryCapture):
    """Numbers rows, not triggers."""

    def _block(self) -> Block:
        first = self._delivered
        return replace(super()._block(), first=first)


class ShiftsLostTriggers(MemoryCapture):
    """Leaves out the number after the one that was lost."""

    def _block(self) -> Block:
        block = super()._block()
        return replace(block, first=max(0, block.first - 1)) if block.first else block


class CountsLostRows(MemoryCapture):
    async def captured(self) -> int:
        await super().captured()
        return self._triggers


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
    @property
    def capabilities(self) -> CaptureCapabilities:
        return replace(super().capabilities, step_in_flight=False)

    async def retune(self, factor: float) -> None:
        """Promised nothing, refuses nothing."""


class PromisesAnyStep(MemoryCapture):
    async def retune(self, factor: float) -> None:
        """I have, have I not?"""


class ShiftsTheGrid(MemoryCapture):
    async def retune(self, factor: float) -> None:
        await super().retune(factor)
        if self._retuned is not None and factor != 1:
            point, place, step = self._retuned
            self._retuned = point, place + step / 4, step


class TriggersBeyondTheEnd(MemoryCapture):
    async def retune(self, factor: float) -> None:
        await super().retune(factor)
        segment = self._segment
        if segment is not None:
            stop = {a: stop + 2 * segment.step for a, stop in segment.stop.items()}
            self._segment = replace(segment, stop=stop)


class StaysRetuned(MemoryCapture):
    async def begin(self, sweep: Sweep) -> None:
        retuned = self._retuned
        await super().begin(sweep)
        if retuned is not None and sweep.segment.fast is not None:
            start = sweep.segment.bound(self._point)[sweep.segment.fast]
            step = retuned[2] if sweep.segment.step * retuned[2] > 0 else -retuned[2]
            self._retuned = self._point, start, step


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


class ReturnsAmidTheLine(MemoryCapture):
    async def triggered(self, sweep: Sweep) -> None:
        await self._clock.sleep(0.1)


class BeginsWhenMadeReady(MemoryCapture):
    async def ready(self, sweep: Sweep) -> None:
        await self.begin(sweep)


class KeepsToWhatWasMadeReady(MemoryCapture):
    """Whatever begins next, it triggers the sweep it was made ready for."""

    made: Sweep | None = None

    async def ready(self, sweep: Sweep) -> None:
        await super().ready(sweep)
        self.made = sweep

    async def begin(self, sweep: Sweep) -> None:
        made, self.made = self.made, None
        await super().begin(made or sweep)


def _picked(block: Block, rows: Any) -> Block:
    """Some rows of a block, in the order given."""
    columns = {name: column[rows] for name, column in block.columns.items()}
    return Block(block.first, block.time_ns[rows], block.exposure[rows], columns)


LINE = "test_every_point_of_a_line_has_one_row"
AHEAD = "test_made_ready_nothing_is_triggered_wherever_the_stage_goes"
LOST = "test_the_number_of_a_lost_trigger_is_left_out"
CAPTURES: list[tuple[type[MemoryCapture], str, str]] = [
    (ArmsOnConnecting, "test_connecting_is_idempotent_and_harmless", "settings differ after conn"),
    (SameNameTwice, "test_channels_and_capabilities_are_sound", "channels called alike"),
    (TriggersTooFast, "test_a_path_too_fast_for_the_triggers_is_refused", "DID NOT RAISE"),
    (TriggersTooFast, "test_positions_of_an_unknown_axis_are_refused", "DID NOT RAISE"),
    (AnyoneMayArm, "test_an_armed_box_is_busy_for_others", "DID NOT RAISE"),
    (BelievesAnyEncoder, "test_encoders_are_verified_by_a_move", "DID NOT RAISE"),
    (LosesARow, LINE, "gaps between blocks|39 rows|19 rows"),
    (HidesALostTrigger, LOST, "was lost, yet there is one of that number"),
    (ShiftsLostTriggers, LOST, "yet there is one of that number|steps from point"),
    (CountsLostRows, "test_rows_captured_are_known_without_the_lost_ones", r"captured\(\) says"),
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
    (PromisesAnyStep, "test_the_step_changes_in_flight_only_if_promised", "points were triggered"),
    (ShiftsTheGrid, "test_the_step_changes_in_flight_only_if_promised", "a step is"),
    (TriggersBeyondTheEnd, "test_the_step_changes_in_flight_only_if_promised", "before the end"),
    (StaysRetuned, "test_the_step_changes_in_flight_only_if_promised", "not as planned"),
    (TriggersWhileHeld, "test_nothing_is_triggered_while_held", "triggered while held"),
    (
        TriggersWhenWithdrawn,
        "test_withdrawn_nothing_is_triggered_wherever_the_stage_goes",
        "assert",
    ),
    (NeverGoesBack, "test_going_back_triggers_points_again", "gone back from"),
    (ReturnsAmidTheLine, "test_a_raster_made_ready_line_by_line", r"triggered\(\) returned"),
    (BeginsWhenMadeReady, AHEAD, r"made ready at point \d+, it went on|says"),
    (KeepsToWhatWasMadeReady, "test_what_was_made_ready_may_be_left", "rows|says|assert"),
    (ForgetsItsPlaceWhenHeld, "test_a_raster_held_often", "rows|steps from point|increase|says"),
    (HangsInCaptureStop, "test_stop_ends_a_capture_at_once", "stop did not end|thrice did not end"),
    (RunsOnWhenStopped, "test_stop_ends_a_capture_at_once", "did not end within 0.5 s after stop"),
    (ForgetsToRestoreTriggers, "test_restore_puts_back_exactly", "settings differ after restore"),
    (IgnoresTheCaptureJournal, "test_a_fresh_instance_restores_after_a_crash", "settings differ"),
]
