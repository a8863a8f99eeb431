"""Frames against triggers on a manual clock: who waits for whom, and what is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ophyd_async.core import AsyncStatus, DetectorTrigger, TriggerInfo
from scanspec.specs import Fly, Linspace

from flyscan.devices import FlyingDetectors
from flyscan.errors import CaptureError, LedgerError, LimitError, WatchdogError
from flyscan.flight import ManualClock, Path
from flyscan.flight._counted import CountedCapture
from flyscan.flight._sweep import plan_sweep
from flyscan.testing import MemoryBox

PATH = Path.from_spec(Fly(Linspace("y", 0, 1, 3) * ~Linspace("x", 0, 1, 5)), period=0.1)


class Detector:
    """Takes frames when told to, and notes what was asked of it."""

    def __init__(self, name: str = "cam", dead_time: float | None = 0.01) -> None:
        self.name = name
        self.frames = 0
        self.dead_time = dead_time
        self.asked: list[str] = []
        self.info: TriggerInfo | None = None

    async def get_trigger_deadtime(self) -> tuple[set[DetectorTrigger], float | None]:
        return {DetectorTrigger.EXTERNAL_EDGE}, self.dead_time

    def _status(self, verb: str) -> AsyncStatus[None]:
        self.asked.append(verb)
        return AsyncStatus(asyncio.sleep(0))

    def stage(self) -> AsyncStatus[None]:
        return self._status("stage")

    def unstage(self) -> AsyncStatus[None]:
        return self._status("unstage")

    def prepare(self, value: TriggerInfo) -> AsyncStatus[None]:
        self.info = value
        return self._status("prepare")

    def kickoff(self) -> AsyncStatus[None]:
        return self._status("kickoff")

    async def get_index(self) -> int:
        return self.frames


async def armed(
    clock: ManualClock, *detectors: Detector, exposure: float | None = None
) -> FlyingDetectors:
    along = FlyingDetectors(detectors, exposure, clock=clock)
    await along.stage()
    await along.prepare([PATH])
    return along


async def passing(clock: ManualClock, seconds: float, *work: Any) -> list[Any]:
    """Results, or errors, of what should be over after that time."""
    task = asyncio.gather(*work, return_exceptions=True)
    for _ in range(round(seconds / 0.05)):
        await clock.advance(0.05)
    assert task.done()
    return task.result()


async def test_they_are_armed_for_more_frames_than_planned_and_never_time_out():
    detector = Detector()
    await armed(ManualClock(), detector)
    assert detector.asked == ["stage", "prepare", "kickoff"]
    assert detector.info is not None
    assert detector.info.trigger is DetectorTrigger.EXTERNAL_EDGE
    assert detector.info.livetime == pytest.approx(0.8 * 0.1 - 0.01)
    assert detector.info.number_of_events > PATH.points
    assert detector.info.exposure_timeout == float("inf")


async def test_a_repeated_prepare_arms_once():
    detector = Detector()
    along = FlyingDetectors([detector], clock=ManualClock())
    first, second = along.prepare([PATH]), along.prepare([PATH.to_dict()])
    await first
    assert second is first
    assert along.prepare([PATH]) is first
    assert detector.asked == ["prepare", "kickoff"]
    await along.unstage()
    await along.prepare([PATH])
    assert detector.asked.count("prepare") == 2


@pytest.mark.parametrize(
    ("exposure", "dead_time", "text"),
    [
        (0.095, 0.01, "slow: a period of 0.1 s is shorter than exposure and dead time, 0.095 s "
         "+ 0.01 s. Remedy: use a period above 0.105 s, or a shorter exposure"),
        (None, 0.09, "slow: a period of 0.1 s is shorter than exposure and dead time, 0 s "
         "+ 0.09 s. Remedy: use a period above 0.1125 s"),
    ],
)  # fmt: skip
async def test_none_is_armed_if_one_is_too_slow(exposure, dead_time, text):
    fast, slow = Detector("fast", 0.0), Detector("slow", dead_time)
    along = FlyingDetectors([fast, slow], exposure, clock=ManualClock())
    with pytest.raises(LimitError) as caught:
        await along.prepare([PATH])
    assert str(caught.value) == text
    assert fast.asked == slow.asked == []


async def test_exactly_as_fast_as_it_can_is_fast_enough():
    await armed(ManualClock(), Detector(dead_time=0.01), exposure=0.09)


async def test_a_count_waits_for_every_detector():
    clock, one, two = ManualClock(), Detector("one"), Detector("two")
    along = await armed(clock, one, two)
    one.frames = 5
    count = asyncio.ensure_future(along.count(5, 0, last=False))
    await clock.advance(1.0)
    assert not count.done()
    two.frames = 5
    assert await passing(clock, 0.5, count) == [None]
    assert along.index == 5


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (5, 9, "cam: segment 1: 4 of 5 frames came within 5.08 s of the last trigger"),
        (5, 11, "cam: segment 1: 6 frames for 5 triggers"),
        (5, 5, "cam: segment 1: 0 of 5 frames came within 5.08 s of the last trigger"),
    ],
)
async def test_errors_name_the_segment_and_its_numbers(first, second, text):
    clock, detector = ManualClock(), Detector()
    along = await armed(clock, detector)
    detector.frames = first
    assert await passing(clock, 1.0, along.count(5, 0, last=False)) == [None]
    detector.frames = second
    (error,) = await passing(clock, 6.0, along.count(10, 1, last=False))
    assert isinstance(error, LedgerError)
    assert str(error).startswith(text)


async def test_parts_of_a_held_segment_add_up():
    clock, detector = ManualClock(), Detector()
    along = await armed(clock, detector)
    detector.frames = 2
    assert await passing(clock, 1.0, along.count(2, 0, last=False)) == [None]
    detector.frames = 6
    (error,) = await passing(clock, 1.0, along.count(5, 0, last=False))
    assert str(error).startswith("cam: segment 0: 6 frames for 5 triggers")


async def test_an_extra_frame_does_not_stand_for_the_last_one():
    clock, detector = ManualClock(), Detector()
    along = await armed(clock, detector)
    detector.frames = 5
    count = asyncio.ensure_future(along.count(5, 0, last=False))
    await clock.advance(0.09)
    detector.frames = 6
    (error,) = await passing(clock, 0.5, count)
    assert str(error).startswith("cam: segment 0: 6 frames for 5 triggers")


async def test_a_detector_that_falls_behind_ends_the_flight():
    clock, detector = ManualClock(), Detector()
    along = await armed(clock, detector)
    along.watch(3)
    await clock.advance(5.0)
    along.watch(40)
    assert along.behind(40)
    await clock.advance(0.1)
    with pytest.raises(LedgerError, match=r"cam: 0 frames came while 3 rows were captured\. Rem"):
        along.watch(41)
    assert not along.behind(41)


async def test_a_detector_that_keeps_up_is_left_alone():
    clock, detector = ManualClock(), Detector()
    along = await armed(clock, detector)
    for rows in range(0, 200, 20):
        detector.frames = max(0, rows - 20)
        await along.members[0].get_index()
        along.watch(rows)
        await clock.advance(2.0)
    detector.frames = 180
    await along.members[0].get_index()
    assert not along.behind(180)
    along.settled(180)


async def test_the_end_compares_frames_with_rows():
    detector = Detector()
    along = await armed(ManualClock(), detector)
    detector.frames = 16
    await along.members[0].get_index()
    with pytest.raises(LedgerError, match=r"cam: 16 frames for 15 rows\. Remedy: a row or a frame"):
        along.settled(15)


# --- the capture's side ---------------------------------------------------------------------


class Counted:
    """A capture on an in-memory box that waits for counts, and the questions it asks."""

    def __init__(self, path: Path = PATH) -> None:
        self.clock = ManualClock()
        self.box = MemoryBox("box", axes=("x", "y"), clock=self.clock)
        self.path = path
        self.questions: list[dict[str, Any]] = []
        self.capture = CountedCapture(self.box.capture, ["cam"], self.clock, self.questions.append)

    async def sweep(self, index: int, from_point: int | None = None) -> Any:
        segment = self.path.segment(index)
        point = segment.first_point if from_point is None else from_point
        sweep = plan_sweep(segment, point, await self.box.motion.limits())
        await self.going(self.box.motion.prepare(sweep))
        return sweep

    async def going(self, work: Any, seconds: float = 200.0) -> Any:
        task = asyncio.ensure_future(work)
        for _ in range(int(seconds / 0.05)):
            if task.done():
                break
            await self.clock.advance(0.05)
        return await task

    async def fly(self, index: int) -> int:
        sweep = await self.sweep(index)
        await self.going(self.capture.begin(sweep))
        await self.box.motion.start(sweep)
        await self.going(self.box.motion.join())
        return await self.going(self.capture.end(sweep))


async def test_the_next_line_begins_when_the_last_is_counted():
    rig = Counted()
    await rig.capture.arm(PATH, 0)
    assert await rig.fly(0) == 5
    assert rig.questions == [
        {"event": "count", "number": 1, "frames": 5, "segment": 0, "last": False}
    ]
    sweep = await rig.sweep(1)
    begin = asyncio.ensure_future(rig.capture.begin(sweep))
    await rig.clock.advance(1.0)
    assert not begin.done()
    rig.capture.counted(1)
    await begin
    assert len(rig.questions) == 1


async def test_a_trigger_without_a_row_is_named():
    rig = Counted()
    rig.box.capture.lose = {3: 1}
    await rig.capture.arm(PATH, 0)
    rows: list[int] = []

    async def read() -> None:
        async for block in rig.capture.blocks():
            rows.extend(range(block.first, block.stop))

    reading = asyncio.ensure_future(read())
    await rig.fly(0)
    with pytest.raises(CaptureError) as caught:
        await rig.going(reading)
    assert rows == [0, 1, 2]
    assert str(caught.value) == (
        "box.capture: trigger 3 of the flight made no row, so that rows and frames of cam would "
        "not match from there on. Remedy: check the trigger wiring, and that the exposure is "
        "shorter than the time between triggers; fly again"
    )


async def test_a_last_trigger_without_a_row_is_named():
    rig = Counted()
    rig.box.capture.lose = {4: 1}
    await rig.capture.arm(PATH, 0)
    await rig.fly(0)
    with pytest.raises(CaptureError, match="trigger 4 of the flight made no row, so that"):
        await rig.capture.captured()


async def test_the_last_count_is_a_question_of_its_own():
    rig = Counted()
    await rig.capture.arm(PATH, 0)
    await rig.fly(0)
    rig.capture.counted(1)
    disarm = asyncio.ensure_future(rig.capture.disarm())
    await rig.clock.advance(1.0)
    assert not disarm.done()
    assert rig.questions[-1] == {
        "event": "count", "number": 2, "frames": 5, "segment": 0, "last": True
    }  # fmt: skip
    rig.capture.counted(2)
    assert await disarm == 5


async def test_nobody_counting_is_an_error_in_time():
    rig = Counted()
    await rig.capture.arm(PATH, 0)
    await rig.fly(0)
    with pytest.raises(WatchdogError, match=r"nobody has counted the 5 frames of cam within 60 s"):
        await rig.going(rig.capture.begin(await rig.sweep(1)))


async def test_what_a_held_line_triggered_is_counted_before_it_goes_on():
    rig = Counted()
    await rig.capture.arm(PATH, 0)
    sweep = await rig.sweep(0)
    await rig.capture.begin(sweep)
    await rig.box.motion.start(sweep)
    while await rig.box.capture.reached() < 2:
        await rig.clock.advance(0.02)
    await rig.capture.hold()
    await rig.going(rig.box.motion.hold())
    reached = await rig.capture.reached()
    again = await rig.sweep(0, reached)
    begin = asyncio.ensure_future(rig.capture.begin(again))
    await rig.clock.advance(0.1)
    assert not begin.done()
    assert rig.questions[-1]["frames"] == reached
    rig.capture.counted(1)
    await begin


async def test_a_timed_train_is_not_cut():
    spec = Fly(Linspace("y", 0, 1, 3) * ~Linspace("x", 0, 1, 5))
    rig = Counted(Path.from_dict({**Path.from_spec(spec, period=0.1).to_dict(), "trigger": "time"}))
    await rig.capture.arm(rig.path, 0)
    sweep = await rig.sweep(0)
    await rig.capture.begin(sweep)
    await rig.box.motion.start(sweep)
    while await rig.box.capture.reached() < 2:
        await rig.clock.advance(0.02)
    hold = asyncio.ensure_future(rig.capture.hold())
    await rig.clock.advance(0.1)
    assert not hold.done()
    await rig.going(hold)
    assert await rig.capture.reached() == 5
