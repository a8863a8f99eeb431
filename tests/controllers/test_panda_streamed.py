"""Sequencer tables given to the simulated box in pieces, so that their step can change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanspec.specs import Fly, Linspace

from flyscan.controllers.panda._feed import SeqFeed
from flyscan.controllers.panda._lines import SeqLine
from flyscan.errors import CaptureError, ConfigurationError, LimitError
from flyscan.flight import Path, Segment, Sweep, Trigger, plan_sweep
from tests.controllers.panda_bench import LIMITS, Bench, bench

COUNT = 0.001
#: Beside the rounding to a count, the stage trembles by 2 nm rms.
NEAR = 12 * COUNT


def odd(points: int = 600, lines: int = 1, backwards: bool = False) -> Path:
    """Steps of 52.5 counts, every 2 ms."""
    ends = [40.0, 40.0 + 0.0525 * (points - 1)]
    fast = Linspace("x", *(ends[::-1] if backwards else ends), points)
    spec = Fly(Linspace("y", 50.0, 50.0 + lines - 1, lines) * ~fast) if lines > 1 else Fly(fast)
    return Path.from_spec(spec, trigger=Trigger.POSITION, period=0.002)


async def armed(b: Bench, path: Path, point: int = 0) -> None:
    b.blocks.clear()
    await b.capture.check(path)
    await b.capture.save(path)
    await b.capture.arm(path, point)
    b.read()


async def begun(b: Bench, segment: Segment, point: int = 0) -> tuple[Sweep, float]:
    sweep = plan_sweep(segment, point, LIMITS)
    await b.go_to(dict(sweep.origin))
    await b.capture.begin(sweep)
    return sweep, b.start(sweep)


async def disarmed(b: Bench) -> int:
    rows = await b.capture.disarm()
    assert b._reader is not None
    await b._reader
    return rows


def entries(b: Bench, segment: Segment) -> np.ndarray:
    return b.column("x_min" if segment.step > 0 else "x_max")


@pytest.mark.parametrize("holds", [(), (0.4, 0.3, 0.0)])
async def test_a_line_comes_in_pieces_and_every_point_has_its_row(holds: tuple[float, ...]):
    async with bench(streamed=True) as b:
        path = odd(lines=2)
        b.capture.validate(path)
        assert await b.fly(path, holds) == path.points
        for segment in path.segments():
            rows = slice(segment.first_point, segment.end_point)
            entry = entries(b, segment)[rows]
            planned = [segment.bound(p)["x"] for p in range(rows.start, rows.stop)]
            assert np.abs(entry - planned).max() < NEAR
        assert await b.capture._control.values("SEQ1.TABLE.MODE") == ["STREAMING_LAST"]


@pytest.mark.parametrize("backwards", [True, False])
async def test_the_step_changes_behind_what_the_box_has_already(backwards: bool):
    async with bench(streamed=True) as b:
        path = odd(backwards=backwards)
        segment = path.segment(0)
        await armed(b, path)
        sweep, done = await begun(b, segment)
        await b.clock.sleep(0.3)
        before = await b.capture.reached()
        await b.capture.retune(1.5)
        await b.clock.sleep_until(done)
        reached = await b.capture.end(sweep)
        landing = b.clock.now() - done
        assert await disarmed(b) == reached < 500
        steps = np.abs(np.diff(entries(b, segment)))
        first = int(np.argmax(steps > 0.065)) + 1
        capable = b.capture.capabilities
        horizon = round(capable.horizon / 0.002) + capable.horizon_points
        assert before + 50 < first <= before + horizon
        assert steps[: first - 1] == pytest.approx(0.0525, abs=NEAR)
        assert steps[first - 1 :] == pytest.approx(0.07875, abs=NEAR)
        left = abs(segment.stop["x"] - entries(b, segment)[-1])
        assert 0 < left < 0.07875 + NEAR, "a row is missing at the end, or one too many"
        assert landing < 0.01


async def test_a_smaller_step_uses_the_points_up_before_the_end():
    async with bench(streamed=True, exposure=0.0005) as b:
        path = odd()
        segment = path.segment(0)
        await armed(b, path)
        sweep, done = await begun(b, segment)
        await b.clock.sleep(0.1)
        await b.capture.retune(0.5)
        await b.clock.sleep_until(done)
        assert await b.capture.end(sweep) == 600
        assert await disarmed(b) == 600
        assert np.diff(entries(b, segment))[-300:] == pytest.approx(0.02625, abs=NEAR)


async def test_held_after_a_change_the_rest_starts_where_it_was_planned():
    async with bench(streamed=True) as b:
        path = odd()
        segment = path.segment(0)
        await armed(b, path)
        sweep, _ = await begun(b, segment)
        await b.clock.sleep(0.1)
        await b.capture.retune(2.0)
        await b.clock.sleep(0.6)
        await b.capture.hold()
        await b.halt(sweep)
        reached = await b.capture.reached()
        assert await b.sweep(segment, reached) == 600
        assert await disarmed(b) == 600
        planned = np.array([segment.bound(p)["x"] for p in range(600)])
        off = np.abs(entries(b, segment) - planned)
        assert off[:50].max() < NEAR
        assert off[reached - 1] > 1.0
        assert off[reached:].max() < NEAR


async def test_a_box_that_ran_dry_is_named_and_can_be_armed_again_from_there():
    async with bench(streamed=True) as b:
        path = odd()
        segment = path.segment(0)
        await armed(b, path)
        sweep, done = await begun(b, segment)
        await b.clock.sleep(0.2)
        async with b.capture._control._lock:  # the network stalls
            await b.clock.sleep(0.6)
        await b.clock.sleep_until(done)
        with pytest.raises(
            CaptureError,
            match=r"segment 0: the sequencer stopped with 'DMA underrun' before point \d+, with "
            r"\d+ of 600 triggers given to it.* fly again from point \d+;",
        ):
            await b.capture.end(sweep)
        with pytest.raises(CaptureError, match="DMA underrun"):
            await b.capture.reached()
        reached = await disarmed(b)
        assert 100 < reached < 500
        first = entries(b, segment)
        await armed(b, path, reached)
        assert await b.sweep(segment, reached) == 600
        assert await disarmed(b) == 600 - reached
        planned = np.array([segment.bound(p)["x"] for p in range(600)])
        assert np.abs(np.concatenate((first, entries(b, segment))) - planned).max() < NEAR


async def test_the_table_found_is_put_back():
    async with bench(streamed=True, trigger="seq") as b:
        control = b.capture._control
        await control.run(("SEQ1.TABLE<", "1 2 3 4", ""))
        path = odd(points=100)
        await armed(b, path)
        await begun(b, path.segment(0))
        await b.clock.sleep(0.1)
        await b.capture.stop()
        assert await control.values("SEQ1.TABLE.MODE") != ["FIXED"]
        await b.capture.restore()
        assert (await control.run("SEQ1.TABLE?"))[0].items == ["1", "2", "3", "4"]
        assert await control.values("SEQ1.TABLE.MODE") == ["FIXED"]


async def test_steps_too_small_for_the_gate_are_refused():
    async with bench(streamed=True) as b:
        path = odd()
        await armed(b, path)
        await begun(b, path.segment(0))
        with pytest.raises(LimitError, match=r"is 36.75 counts, with a gate of 0.0016 s the box"):
            await b.capture.retune(0.7)
        await b.capture.stop()


async def test_triggers_of_streamed_tables_must_be_counted():
    channels = {f"c{n}": {"field": f"COUNTER{n}.OUT"} for n in range(1, 9)}
    async with bench(streamed=True, channels=channels, connect=False) as b:
        await b.capture.connect()
        with pytest.raises(ConfigurationError, match="from a streamed table, but no COUNTER"):
            b.capture.validate(odd())


async def test_a_line_may_be_longer_than_a_table():
    async with bench(streamed=True, trigger="seq") as b:
        path = Path.from_spec(
            Fly(Linspace("x", 10.0, 90.0, 300_000)), trigger=Trigger.POSITION, period=0.001
        )
        b.capture._encoders = {"x": type(b.capture._encoders["x"])("INENC1", 1e-5, unit="um")}
        assert b.capture.validate(path) == (
            "x: every position is rounded to counts by itself (SEQ), at most 5e-06 um off",
        )


# --- arithmetic --------------------------------------------------------------------------------


def feed(points: int = 100, direction: int = 1) -> SeqFeed:
    positions = 1000 + direction * np.rint(np.arange(points) * 12.5).astype(np.int64)
    end = 1000 + direction * points * 12.5
    return SeqFeed(SeqLine(positions, direction), 0, end, 12.5, 0.001)


@pytest.mark.parametrize("direction", [1, -1])
@given(st.lists(st.tuples(st.integers(1, 40), st.floats(2.0, 60.0)), max_size=8))
def test_points_are_given_once_in_order_and_up_to_the_end(
    direction: int, changes: list[tuple[int, float]]
):
    line = feed(direction=direction)
    given_: list[int] = []
    for count, step in changes:
        given_ += line.take(count).tolist()
        line.change(step)
    given_ += line.take(1000).tolist()
    assert line.exhausted
    assert len(given_) == line.points <= 100
    ahead = direction * (np.array(given_) - 1000)
    assert ahead[0] == 0
    assert np.all(np.diff(ahead) >= 2)
    assert ahead[-1] < 1250
    last_step = changes[-1][1] if changes and line.changed else 12.5
    assert line.points == 100 or ahead[-1] + max(last_step, 12.5) + 61 > 1250


def test_a_change_moves_the_points_behind_the_next_one():
    line = feed()
    assert line.take(4).tolist() == [1000, 1012, 1025, 1038]
    line.change(25.0)
    assert line.take(3).tolist() == [1050, 1075, 1100]
    line.change(300.0)
    assert (line.points, line.piece) == (11, 5)
    assert line.take(100).tolist() == [1125, 1425, 1725, 2025]
    assert line.exhausted


def test_there_is_always_a_point_left_to_end_a_table_with():
    line = feed()
    line.take(99)
    line.change(1e6)
    assert (line.points, line.exhausted) == (100, False)
    assert line.take(5).size == 1
