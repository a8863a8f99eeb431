"""Steps of position compare changed while the stage flies, against the simulated box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Fly, Linspace

from flyscan.controllers.panda._spacing import Spacing, falls
from flyscan.errors import CaptureError, ConfigurationError, LimitError
from flyscan.flight import Path, Segment, Sweep, Trigger, plan_sweep
from tests.controllers.panda_bench import LIMITS, Bench, bench, grid

COUNT = 0.001
#: Beside the rounding to a count, the stage trembles by 2 nm rms.
NEAR = 12 * COUNT


@dataclass
class Flown:
    """What came of one line."""

    entry: np.ndarray
    reached: int
    rows: int
    landing: float

    @property
    def steps(self) -> np.ndarray:
        return np.abs(np.diff(self.entry))


async def armed(b: Bench, path: Path) -> None:
    await b.capture.check(path)
    await b.capture.save(path)
    await b.capture.arm(path, 0)
    b.read()


async def begun(b: Bench, segment: Segment, point: int = 0) -> Sweep:
    sweep = plan_sweep(segment, point, LIMITS)
    await b.go_to(dict(sweep.origin))
    await b.capture.begin(sweep)
    return sweep


def entries(b: Bench, segment: Segment, part: slice = slice(None)) -> np.ndarray:
    return b.column("x_min" if segment.step > 0 else "x_max")[part]


async def fly(b: Bench, path: Path, retunes: list[tuple[float, float]]) -> Flown:
    """One line, retuned by factors so many seconds after one another."""
    await armed(b, path)
    sweep = await begun(b, path.segment(0))
    done = b.start(sweep)
    for seconds, factor in retunes:
        await b.clock.sleep(seconds)
        await b.capture.retune(factor)
    await b.clock.sleep_until(done)
    reached = await b.capture.end(sweep)
    landing = b.clock.now() - done
    rows = await b.capture.disarm()
    assert b._reader is not None
    await b._reader
    return Flown(entries(b, path.segment(0)), reached, rows, landing)


@pytest.mark.parametrize("forward", [True, False])
async def test_a_larger_step_ends_the_line_with_fewer_rows(forward: bool):
    async with bench() as b:
        ends = (40.0, 44.95) if forward else (44.95, 40.0)
        path = Path.from_spec(
            Fly(Linspace("x", *ends, 100)), trigger=Trigger.POSITION, period=0.001
        )
        flown = await fly(b, path, [(0.03, 2.0)])
        assert flown.rows == flown.reached == len(flown.entry) < 90
        assert set(np.rint(flown.steps / 0.05).astype(int)) == {1, 2}
        changed = int(np.argmax(flown.steps > 0.075))
        assert flown.steps[:changed] == pytest.approx(0.05, abs=NEAR)
        assert flown.steps[changed:] == pytest.approx(0.1, abs=NEAR)
        stop = path.segment(0).stop["x"]
        assert 0 < abs(stop - flown.entry[-1]) < 0.1 + NEAR, "a row is missing, or one too many"
        # Triggers that cannot come any more are not waited for.
        assert flown.landing < 0.01


async def test_a_smaller_step_uses_the_points_up_before_the_end():
    async with bench(exposure=0.0003) as b:
        path = grid(points=60, lines=1)
        flown = await fly(b, path, [(0.02, 0.5)])
        assert flown.rows == flown.reached == 60
        assert flown.steps[-30:] == pytest.approx(0.025, abs=NEAR)
        assert flown.entry[-1] < path.segment(0).stop["x"] - 0.5


async def test_a_step_acts_from_the_promised_point_on():
    async with bench() as b:
        path = grid(points=60, lines=1)
        await armed(b, path)
        sweep = await begun(b, path.segment(0))
        done = b.start(sweep)
        await b.clock.sleep(0.03)
        before = await b.capture.reached()
        await b.capture.retune(1.5)
        after = await b.capture.reached()
        await b.clock.sleep_until(done)
        await b.capture.end(sweep)
        await b.capture.disarm()
        assert b._reader is not None
        await b._reader
        steps = np.diff(entries(b, path.segment(0)))
        first = int(np.argmax(steps > 0.0625)) + 1
        capable = b.capture.capabilities
        assert capable.step_in_flight
        assert before <= first <= after + capable.horizon_points


FACTORS = st.sampled_from([0.4, 0.5, 0.98, 1.0, 1.02, 1.5, 3.0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 0.02), FACTORS), min_size=1, max_size=6))
async def test_however_often_the_step_changes_no_row_is_lost_or_beyond_the_end(
    retunes: list[tuple[float, float]],
):
    async with bench(exposure=0.0003) as b:
        path = grid(points=80, lines=1)
        flown = await fly(b, path, retunes)
        assert flown.rows == flown.reached == len(flown.entry)
        asked = {50, *(round(50 * factor) for _, factor in retunes)}
        nearest = np.abs(flown.steps[:, None] / COUNT - np.array(sorted(asked))).min(axis=1)
        assert nearest.max() <= 12 + 1, "a step nobody asked for"
        stop = path.segment(0).stop["x"]
        assert flown.entry[-1] < stop
        # Only a line that has used up its points may leave something of its end out.
        used_up = flown.reached == 80
        assert used_up or stop - flown.entry[-1] < 0.001 * max(asked) + NEAR
        # Whether a row before the end was still to come may be uncertain by one pulse.
        assert flown.landing < 0.1


async def test_held_after_a_change_the_count_is_exact_and_the_rest_starts_on_the_grid():
    async with bench() as b:
        path = grid(points=100, lines=1)
        segment = path.segment(0)
        await armed(b, path)
        sweep = await begun(b, segment)
        b.start(sweep)
        await b.clock.sleep(0.03)
        await b.capture.retune(2.0)
        await b.clock.sleep(0.02)
        await b.capture.hold()
        await b.halt(sweep)
        reached = await b.capture.reached()
        # Nothing can tell the flight where point `reached` would have been, so it is not there.
        assert await b.sweep(segment, reached) == 100
        assert await b.capture.disarm() == 100
        assert b._reader is not None
        await b._reader
        entry = entries(b, segment)
        grid_at = np.array([segment.bound(p)["x"] for p in range(100)])
        assert np.abs(entry - grid_at)[:20].max() < NEAR
        assert entry[reached - 1] > grid_at[reached - 1] + 0.2
        assert np.abs(entry - grid_at)[reached:].max() < NEAR


async def test_the_next_line_begins_with_the_nominal_step():
    async with bench() as b:
        path = grid(points=60, lines=2)
        first, second = path.segments()
        await armed(b, path)
        sweep = await begun(b, first)
        done = b.start(sweep)
        await b.clock.sleep(0.03)
        await b.capture.retune(3.0)
        await b.clock.sleep_until(done)
        reached = await b.capture.end(sweep)
        assert reached < 50
        assert await b.sweep(second, second.first_point) == second.end_point
        assert await b.capture.disarm() == reached + 60
        assert b._reader is not None
        await b._reader
        steps = np.diff(entries(b, second, slice(reached, None)))
        assert np.abs(steps) == pytest.approx(0.05, abs=NEAR)


async def test_a_step_one_count_smaller_is_never_written():
    """The block would take the next crossing for a jump of the encoder and end."""
    async with bench(exposure=0.0003) as b:
        path = grid(points=80, lines=1)
        flown = await fly(b, path, [(0.02, 49 / 50)])
        assert flown.reached == 80
        assert np.median(flown.steps[-40:]) == pytest.approx(0.048, abs=0.0015)


@pytest.mark.parametrize("factor", [0.7, 0.0, -1.0, float("nan"), float("inf"), 1e9])
async def test_steps_the_box_cannot_make_are_refused_and_change_nothing(factor: float):
    async with bench() as b:
        path = grid(points=60, lines=1)
        await armed(b, path)
        sweep = await begun(b, path.segment(0))
        done = b.start(sweep)
        await b.clock.sleep(0.02)
        with pytest.raises(
            LimitError, match=r"counts, with a gate of 0.0008 s the box makes 4\d to"
        ):
            await b.capture.retune(factor)
        await b.clock.sleep_until(done)
        assert await b.capture.end(sweep) == 60
        await b.capture.disarm()


def timed(points: int = 40) -> Path:
    return Path.from_spec(
        Fly(Linspace("x", 40.0, 42.0, points)), trigger=Trigger.TIME, period=0.001
    )


@pytest.mark.parametrize(
    ("path", "parameters", "maker"),
    [
        (timed(), {}, "a timed train"),
        (grid(points=40, lines=1), {"trigger": "seq"}, "a table of the sequencer"),
        (grid(points=40, lines=1, step=0.0125), {"exposure": 0.0002}, "a table of the sequencer"),
    ],
)
async def test_lines_position_compare_does_not_trigger_say_so_before_motion(
    path: Path, parameters: dict[str, Any], maker: str
):
    async with bench(**parameters) as b:
        assert b.capture.capabilities.step_in_flight is ("trigger" not in parameters)
        await armed(b, path)
        assert not b.capture.capabilities.step_in_flight
        sweep = await begun(b, path.segment(0))
        with pytest.raises(ConfigurationError, match=f"triggers are made by {maker}"):
            await b.capture.retune(1.5)
        done = b.start(sweep)
        await b.clock.sleep_until(done)
        assert await b.capture.end(sweep) == 40
        await b.capture.disarm()


async def test_nothing_is_retuned_where_nothing_is_flown():
    async with bench() as b:
        with pytest.raises(CaptureError, match="not armed"):
            await b.capture.retune(1.5)
        path = grid(points=20, lines=1)
        await armed(b, path)
        await b.capture.retune(1.5)
        assert await b.sweep(path.segment(0), 0) == 20
        await b.capture.retune(2.0)
        assert await b.capture._control.values("PCOMP1.STEP", "PCOMP1.PULSES") == ["50", "20"]
        await b.capture.disarm()


# --- arithmetic --------------------------------------------------------------------------------


def test_pulses_are_counted_up_to_the_end_of_the_line():
    spacing = Spacing(50, 1000.0, 20)
    assert (spacing.pulses, spacing.changed) == (20, False)
    spacing.change(100, 4, 4)  # pulse 4 at 200 is the last one where it was
    assert [spacing.at(i) for i in (3, 4, 5, 6)] == [150, 200, 300, 400]
    assert (spacing.pulses, spacing.changed) == (12, True)
    spacing.change(30, 6, 6)
    assert [spacing.at(i) for i in (5, 6, 7)] == [300, 400, 430]
    assert spacing.pulses == 20
    spacing.change(200, 6, 6)  # before the other one had acted
    assert [spacing.at(i) for i in (6, 7)] == [400, 600]
    assert spacing.pulses == 9


def test_in_doubt_more_pulses_are_expected():
    coarser = Spacing(50, 1000.0, 20)
    coarser.change(100, 4, 5)
    assert coarser.at(6) == 350
    finer = Spacing(50, 1000.0, 100)
    finer.change(10, 4, 5)
    assert finer.at(6) == 220


@pytest.mark.parametrize(
    ("present", "wanted", "least", "written"),
    [(50, 50, 2, None), (50, 49, 2, 48), (50, 51, 2, 51), (50, 48, 2, 48), (3, 2, 2, None)],
)
def test_steps_next_to_the_present_one(present: int, wanted: int, least: int, written: int | None):
    assert Spacing(present, 1000.0, 20).writable(wanted, least, 5) == written


def test_steps_that_have_not_acted_yet_count_as_present():
    spacing = Spacing(50, 5000.0, 100)
    spacing.change(60, 8, 8)
    spacing.change(59 - 2, 9, 9)
    assert spacing.writable(59, 2, 8) == 58
    assert spacing.writable(56, 2, 8) == 55
    assert spacing.writable(49, 2, 8) == 48
    assert spacing.writable(59, 2, 20) == 59


def test_falling_edges_are_pulses_that_are_over():
    assert (falls(4, "WAIT_RISING"), falls(4, "WAIT_FALLING")) == (4, 3)
