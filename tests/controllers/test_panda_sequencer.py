"""Sequencer tables against the simulated box: steps that are no whole counts, and curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Fly, Linspace

from flyscan.controllers._axis_map import AxisMap
from flyscan.errors import ConfigurationError, LimitError
from flyscan.flight import Path, Trigger, plan_sweep
from tests.controllers.panda_bench import ENCODERS, LIMITS, Bench, bench


def odd(points: int = 40, lines: int = 2) -> Path:
    """Steps of 12.5 counts."""
    fast = Linspace("x", 40.0, 40.0 + 0.0125 * (points - 1), points)
    spec = Fly(Linspace("y", 50.0, 50.0 + lines - 1, lines) * ~fast)
    return Path.from_spec(spec, trigger=Trigger.POSITION, period=0.002)


def check_positions(b: Bench, path: Path, rows: int) -> None:
    assert rows == path.points == sum(map(len, b.blocks))
    axis_map = AxisMap(**ENCODERS["x"])
    for segment in path.segments():
        part = slice(segment.first_point, segment.end_point)
        begin = np.array([segment.bound(p)["x"] for p in range(part.start, part.stop)])
        entry = b.column("x_min" if segment.step > 0 else "x_max")[part]
        assert np.abs(axis_map.counts(entry) - axis_map.counts(begin)).max() < 12.5


async def test_a_step_of_no_whole_counts_is_flown_with_a_table():
    async with bench(exposure=0.0005) as b:
        path = odd()
        (remark,) = b.capture.validate(path)
        assert (
            remark
            == "x: every position is rounded to counts by itself (SEQ), at most 0.0005 um off"
        )
        rows = await b.fly(path)
        check_positions(b, path, rows)
        keys = [step.key for step in b.capture.restore_steps()]
        assert "SEQ1.TABLE<B" in keys


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.0, 0.07), max_size=4))
async def test_held_anywhere_the_next_row_waits(holds: list[float]):
    async with bench(exposure=0.0005) as b:
        path = odd(points=30)
        check_positions(b, path, await b.fly(path, holds))


async def test_the_sequencer_can_be_chosen_for_whole_counts_too():
    async with bench(trigger="seq") as b:
        path = Path.from_spec(
            Fly(Linspace("x", 42.0, 40.0, 41)), trigger=Trigger.POSITION, period=0.001
        )
        check_positions(b, path, await b.fly(path, [0.02]))
        assert (await b.capture._control.values("PCOMP1.ENABLE")) == ["ZERO"]


async def test_tables_are_put_back():
    async with bench(trigger="seq") as b:
        control = b.capture._control
        await control.run(("SEQ1.TABLE<", "1 2 3 4", ""), "SEQ1.PRESCALE=0.001")
        before = (await control.run("SEQ1.TABLE?"))[0].items
        await b.fly(Path.from_spec(Fly(Linspace("x", 40.0, 41.0, 11)), period=0.001))
        assert (await control.run("SEQ1.TABLE?"))[0].items != before
        await b.capture.restore()
        assert (await control.run("SEQ1.TABLE?"))[0].items == before
        assert await control.values("SEQ1.PRESCALE") == ["0.001"]


async def test_paths_may_mix_position_compare_and_sequencer():
    """Two lines one after the other, one with whole counts and one without."""
    async with bench(exposure=0.0005) as b:
        spec = Fly(
            Linspace("x", 40.0, 41.0, 21).concat(Linspace("x", 45.0, 45.0 + 0.0525 * 20, 21))
        )
        path = Path.from_spec(spec, trigger=Trigger.POSITION, period=0.002)
        methods = {b.capture._planner.method(segment) for segment in path.segments()}
        assert methods == {"pcomp", "seq"}
        check_positions(b, path, await b.fly(path))


async def test_lines_longer_than_a_table_are_refused():
    async with bench(trigger="seq") as b:
        path = Path.from_spec(
            Fly(Linspace("x", 10.0, 90.0, 300_000)), trigger=Trigger.POSITION, period=0.001
        )
        encoders = {"x": AxisMap("INENC1", 1e-5, unit="um")}
        b.capture._encoders = encoders
        with pytest.raises(LimitError, match="300000 points, a sequencer table holds 262143"):
            b.capture.validate(path)


async def test_gated_rows_wait_for_the_gate():
    """The gate is a soft bit here: low until the stage has passed the third point."""
    async with bench(gate="BITS.OUTD", exposure=0.0002) as b:
        path = Path.from_spec(
            Fly(Linspace("x", 40.0, 42.0, 21)), trigger=Trigger.POSITION, period=0.01
        )
        await b.capture._control.run("BITS.D=1")
        segment = path.segment(0)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        reader = b.read()
        sweep = plan_sweep(segment, 0, LIMITS)
        await b.go_to(dict(sweep.origin))
        await b.capture.begin(sweep)
        end = b.start(sweep)
        await b.clock.sleep(sweep.lead + 0.055)
        assert await b.capture.reached() == 6
        await b.capture._control.run("BITS.D=0")
        await b.clock.sleep(0.01)
        assert await b.capture.reached() == 6
        await b.capture._control.run("BITS.D=1")
        await b.clock.sleep_until(end)
        assert await b.capture.end(sweep) == 21
        assert await b.capture.disarm() == 21
        await reader
        late = b.column("x_min") - [segment.bound(p)["x"] for p in range(21)]
        assert late[6] > 0.02
        assert np.abs(np.delete(late, 6)).max() < 0.012


async def test_a_closed_gate_leaves_points_untriggered():
    async with bench(gate="BITS.OUTD") as b:
        path = Path.from_spec(Fly(Linspace("x", 40.0, 42.0, 21)), period=0.002)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        b.read()
        assert await b.sweep(path.segment(0), 0) == 0
        await b.capture.stop()


async def test_only_positions_can_be_gated():
    async with bench(gate="TTLIN5.VAL") as b:
        timed = Path.from_spec(
            Fly(Linspace("x", 40.0, 42.0, 21)), trigger=Trigger.TIME, period=0.002
        )
        with pytest.raises(ConfigurationError, match=r"cannot wait for the gate TTLIN5\.VAL"):
            b.capture.validate(timed)
