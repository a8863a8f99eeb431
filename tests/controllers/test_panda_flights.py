"""PandA capture against the simulated box: flights, holds, re-arming, timed trains."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanspec.specs import Fly, Linspace

from flyscan.controllers.panda import PandaCapture
from flyscan.controllers.panda._runner import SweepRunner
from flyscan.errors import CaptureError, NotReadyError
from flyscan.flight import ManualClock, Path, Trigger, plan_sweep
from flyscan_sim.world import AxisSpec, World, nanoprobe_world
from tests.controllers.panda_bench import ENCODERS, LIMITS, Bench, bench, grid


def check_rows(b: Bench, path: Path, rows: int) -> None:
    """Every point of the path has exactly one row, taken where the point is."""
    assert rows == path.points == sum(map(len, b.blocks))
    firsts = [block.first for block in b.blocks]
    assert firsts == [0, *np.cumsum([len(block) for block in b.blocks])[:-1]]
    middle = path.setpoints(0, path.points)["x"]
    for segment in path.segments():
        part = slice(segment.first_point, segment.end_point)
        begin = middle[part] - segment.step / 2
        low, high = b.column("x_min")[part], b.column("x_max")[part]
        entry = low if segment.step > 0 else high
        # The gate opens at the crossing; vibration of 2 nm rms may take the stage back a little.
        assert np.abs(entry - begin).max() < 0.012
        assert np.all((low <= b.column("x")[part]) & (b.column("x")[part] <= high))


async def test_flies_a_snake_one_row_per_point():
    async with bench() as b:
        path = grid(points=50, lines=4)
        assert b.capture.validate(path) == ()
        rows = await b.fly(path)
        check_rows(b, path, rows)
        times = np.concatenate([block.time_ns for block in b.blocks])
        assert np.all(np.diff(times) > 0)
        assert b.clock.epoch_ns < times[0] < times[-1] < b.clock.epoch_ns + b.clock.now() * 1e9
        exposure = np.concatenate([block.exposure for block in b.blocks])
        assert exposure == pytest.approx(0.0008)
        assert b.column("I0").mean() == pytest.approx(500_000 * 0.0008, rel=0.1)
        assert b.capture.end_reason is not None
        assert (b.capture.end_reason.ok, b.capture.end_reason.rows) == (True, path.points)


async def test_channels_are_described():
    async with bench() as b:
        by_name = {c.name: c for c in b.capture.channels()}
        assert list(by_name) == ["x", "x_min", "x_max", "y", "y_min", "y_max", "I0", "Fe"]
        assert (by_name["x"].axis, by_name["x"].unit, by_name["x"].dtype) == ("x", "um", "<f8")
        assert by_name["x_min"].axis is None
        assert (by_name["Fe"].dtype, by_name["Fe"].unit) == ("<i4", "counts")
        await b.fly(grid(points=5, lines=1))
        for name, channel in by_name.items():
            assert b.column(name).dtype == np.dtype(channel.dtype)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 0.05), max_size=6))
async def test_held_anywhere_every_point_has_exactly_one_row(holds: list[float]):
    async with bench() as b:
        path = grid(points=30, lines=2)
        check_rows(b, path, await b.fly(path, holds))


async def test_a_hold_leaves_the_box_armed():
    async with bench() as b:
        path = grid(points=40, lines=1)
        segment = path.segment(0)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        reader = b.read()
        point = await b.sweep(segment, 0, hold_after=0.02)
        assert 5 < point < 35
        start = await b.capture._control.values("PCOMP1.START", "PCOMP1.PRODUCED")
        assert await b.sweep(segment, point) == 40
        after = await b.capture._control.values("PCOMP1.START", "PCOMP1.PRODUCED")
        assert (start, after) == (["39975", str(point)], ["39975", "40"])
        check_rows(b, path, await b.capture.disarm())
        await reader


async def test_going_back_arms_at_the_earlier_index():
    """Set-points of points flown again equal those of the first time."""
    async with bench() as b:
        path = grid(points=40, lines=1)
        segment = path.segment(0)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        reader = b.read()
        reached = await b.sweep(segment, 0, hold_after=0.03)
        assert await b.sweep(segment, 8) == 40
        assert await b.capture._control.values("PCOMP1.START", "PCOMP1.PULSES") == [
            str(39975 + 8 * 50),
            "32",
        ]
        assert await b.capture.disarm() == reached + 32
        await reader
        entry = b.column("x_min")
        assert entry[8:reached] == pytest.approx(entry[reached : 2 * reached - 8], abs=0.01)


async def test_arming_again_counts_rows_from_0():
    async with bench() as b:
        path = grid(points=20, lines=2)
        await b.fly(path, [0.02])
        b.blocks.clear()
        check_rows(b, path, await b.fly(path))


async def test_reached_is_live():
    async with bench(block_period=10.0) as b:
        path = grid(points=60, lines=1)
        sweep = plan_sweep(path.segment(0), 0, LIMITS)
        await b.go_to(dict(sweep.origin))
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        b.read()
        assert await b.capture.reached() == 0
        await b.capture.begin(sweep)
        end = b.start(sweep)
        seen = [await b.capture.reached()]
        while b.clock.now() < end:
            await b.clock.sleep(0.005)
            seen.append(await b.capture.reached())
        assert b.blocks == []
        assert seen[0] == 0
        assert seen[-1] == 60
        assert seen == sorted(seen)
        assert len(set(seen)) > 6
        await b.capture.disarm()


def timed(points: int = 40, period: float = 0.001) -> Path:
    return Path.from_spec(
        Fly(Linspace("x", 40.0, 42.0, points)), trigger=Trigger.TIME, period=period
    )


async def test_timed_train_starts_at_the_first_position():
    async with bench() as b:
        path = timed()
        assert await b.fly(path) == path.points
        times = np.concatenate([block.time_ns for block in b.blocks])
        assert np.diff(times) == pytest.approx(1_000_000, abs=16)
        assert b.column("x_min")[0] == pytest.approx(path.segment(0).start["x"], abs=0.012)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(0.0, 0.05), max_size=4))
async def test_a_held_train_goes_on_at_the_exact_point(holds: list[float]):
    async with bench() as b:
        path = timed(points=30)
        assert await b.fly(path, holds) == path.points
        middle = path.setpoints(0, path.points)["x"]
        assert sum(map(len, b.blocks)) == path.points
        assert np.abs(b.column("x") - middle).max() < 0.05
        exposure = np.concatenate([block.exposure for block in b.blocks])
        assert exposure.min() > 0.00079


@pytest.mark.parametrize(
    "parameters", [{}, {"trigger": "seq"}, {"trigger": "seq", "streamed": True}]
)
async def test_a_stage_that_trembles_while_triggers_are_withdrawn_takes_no_point_twice(
    parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    async with bench(**parameters) as b:
        path = grid(lines=1)
        segment = path.segment(0)
        await b.capture.arm(path, 0)
        reader = b.read()
        point = await b.sweep(segment, 0, hold_after=0.02)
        assert 0 < point < path.points - 1
        close = SweepRunner.close

        async def tremble_first(self: SweepRunner) -> None:
            monkeypatch.undo()
            await b.go_to({"x": segment.bound(point)["x"] + 0.02})
            await close(self)

        monkeypatch.setattr(SweepRunner, "close", tremble_first)
        await b.capture.withdraw()
        assert SweepRunner.close is close
        assert await b.capture.reached() == point + 1
        assert await b.sweep(segment, point + 1) == path.points
        rows = await b.capture.disarm()
        await reader
        check_rows(b, path, rows)


@pytest.mark.parametrize("holds", [(), (0.007,), (0.0093, 0.004, 0.0)])
async def test_dwells_are_started_by_a_soft_bit(holds: tuple[float, ...]):
    async with bench() as b:
        path = Path.from_spec(Linspace("y", 50.0, 52.0, 3) * 10, period=0.002)
        assert path.segment(0).static
        assert await b.fly(path, holds) == 30
        assert np.abs(b.column("y") - path.setpoints(0, 30)["y"]).max() < 0.02
        per_place = np.diff(np.concatenate([k.time_ns for k in b.blocks]).reshape(3, 10), axis=1)
        if not holds:
            assert per_place == pytest.approx(2_000_000, abs=16)


async def test_everything_is_put_back():
    async with bench() as b:
        control = b.capture._control
        fields = {
            "PCOMP1.START": "7", "PCOMP1.DIR": "Either", "PULSE1.WIDTH.UNITS": "us",
            "PULSE1.WIDTH": "12.8", "PCAP.TRIG": "TTLIN3.VAL", "BITS.B": "1",
            "COUNTER8.START": "-4", "TTLOUT1.VAL": "CLOCK1.OUT",
        }  # fmt: skip
        await control.run(*(f"{f}={v}" for f, v in fields.items()))
        await control.run("*CAPTURE=", "CALC1.OUT.CAPTURE=Min Max", "PCAP.BITS0.CAPTURE=Value")
        captured = (await control.run("*CAPTURE?"))[0].items
        b.capture._extra["TTLOUT1.VAL"] = "PULSE1.OUT"
        await b.fly(grid(points=10, lines=1))
        steps = b.capture.restore_steps()
        assert await control.values("TTLOUT1.VAL") == ["PULSE1.OUT"]
        await b.capture.restore()
        assert await control.values(*fields) == list(fields.values())
        assert (await control.run("*CAPTURE?"))[0].items == captured
        assert b.capture.restore_steps() == ()

        # After a crash only the journal is left, and another process reads it.
        await control.run("PCOMP1.START=1", "*CAPTURE=", "BITS.B=0")
        fresh = PandaCapture(
            "panda", "127.0.0.1",
            control_port=b.server.control_port, data_port=b.server.data_port, clock=b.clock,
        )  # fmt: skip
        try:
            await fresh.restore(steps)
        finally:
            await fresh.close()
        assert await control.values(*fields) == list(fields.values())
        assert (await control.run("*CAPTURE?"))[0].items == captured


async def test_stop_is_safe_at_any_time():
    async with bench(connect=False) as b:
        await b.capture.stop()
        await b.capture.connect()
        await b.align()
        await b.capture.stop()
        path = grid(points=40, lines=1)
        sweep = plan_sweep(path.segment(0), 0, LIMITS)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        reader = b.read()
        await b.go_to(dict(sweep.origin))
        await b.capture.begin(sweep)
        b.start(sweep)
        await b.clock.sleep(0.02)
        await b.capture.stop()
        await b.capture.stop()
        await reader
        assert 5 < sum(map(len, b.blocks)) < 35
        assert b.capture.end_reason is not None
        assert b.capture.end_reason.ok
        await b.capture.restore()
        await b.capture.restore()
        with pytest.raises(CaptureError, match="not armed"):
            await b.capture.reached()


async def test_a_stage_in_the_line_already_is_refused():
    async with bench(timeout=0.5) as b:
        path = grid(points=40, lines=1)
        sweep = plan_sweep(path.segment(0), 0, LIMITS)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        b.read()
        await b.go_to({"x": 41.0})
        with pytest.raises(CaptureError, match=r"first trigger is at x = 39\.975 um; .* WAIT_PRE"):
            await b.capture.begin(sweep)


async def test_an_encoder_that_was_never_aligned_is_refused():
    async with bench(timeout=0.5) as b:
        path = grid(points=40, lines=1)
        sweep = plan_sweep(path.segment(0), 0, LIMITS)
        await b.capture._control.run("INENC1.SETP=0")
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        b.read()
        await b.go_to(dict(sweep.origin))
        with pytest.raises(CaptureError, match="align the axis map"):
            await b.capture.begin(sweep)


async def test_nothing_works_before_connecting():
    capture = PandaCapture("panda", "127.0.0.1")
    with pytest.raises(NotReadyError, match="await connect"):
        capture.channels()
    await capture.stop()
    await capture.close()


async def test_a_line_is_set_up_in_one_round_trip(monkeypatch: pytest.MonkeyPatch):
    async with bench() as b:
        path = grid(points=20, lines=2)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        b.read()
        await b.sweep(path.segment(0), 0)
        sweep = plan_sweep(path.segment(1), 20, LIMITS)
        await b.go_to(dict(sweep.origin))
        calls: list[tuple[object, ...]] = []
        exchange = b.capture._control._exchange

        async def counted(requests: tuple[object, ...]) -> object:
            calls.append(requests)
            return await exchange(requests)

        monkeypatch.setattr(b.capture._control, "_exchange", counted)
        await b.capture.begin(sweep)
        assert len(calls) == 1  # settings that differ, and the check that the box waits
        await b.capture.disarm()


async def test_a_begin_cancelled_on_its_way_does_not_spoil_the_next(
    monkeypatch: pytest.MonkeyPatch,
):
    """The box has got the settings and nobody has learnt of it: they must be written again."""
    async with bench() as b:
        path = timed(points=30)
        segment = path.segment(0)
        await b.capture.save(path)
        await b.capture.arm(path, 0)
        reader = b.read()
        reached = await b.sweep(segment, 0, hold_after=0.02)
        exchange = b.capture._control._exchange

        async def cancelled(requests: tuple[object, ...]) -> object:
            await exchange(requests)
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(b.capture._control, "_exchange", cancelled)
            with pytest.raises(asyncio.CancelledError):
                await b.capture.begin(plan_sweep(segment, reached, LIMITS))
        assert await b.sweep(segment, 0) == 30
        assert await b.capture.disarm() == reached + 30
        await reader
        assert b.column("x_min")[reached] == pytest.approx(segment.start["x"], abs=0.012)


async def test_the_row_under_way_is_finished_before_disarming(monkeypatch: pytest.MonkeyPatch):
    async with bench() as b:
        await b.capture.arm(grid(), 0)
        reader = b.read()
        sent: list[str] = []
        run, values = b.capture._control.run, b.capture._control.values

        async def noted(*requests: Any, **options: bool) -> Any:
            sent.extend(map(str, requests))
            return await run(*requests, **options)

        async def finishing(*fields: str) -> list[str]:
            found = await values(*fields)
            return ["Busy"] if "*PCAP.COMPLETION" in fields and len(sent) < 9 else found

        monkeypatch.setattr(b.capture._control, "run", noted)
        monkeypatch.setattr(b.capture._control, "values", finishing)
        await b.capture.disarm()
        await reader
        assert sent[:3] == ["BITS.B=0", "BITS.C=0", "BITS.A=0"]
        assert sent[-1] == "*PCAP.DISARM="
        assert sent[3:-1] == ["*PCAP.COMPLETION?"] * 6


async def test_a_late_encoder_is_compensated_in_both_directions():
    """Without its latency in the map, lines of a snake come apart by twice velocity times it."""
    spec = AxisSpec("um", 1e-3, 0.0, 100.0, 2000.0, 1e5, encoder_latency=5e-4, start=50.0)

    def late(clock: ManualClock) -> World:
        return nanoprobe_world(clock, axes={"x": spec})

    apart: list[float] = []
    for latency in (0.0, 5e-4):
        encoders = {"x": ENCODERS["x"] | {"latency": latency}}
        async with bench(world=late, encoders=encoders) as b:
            path = grid(points=40, lines=2)
            await b.fly(path)
            times = np.concatenate([block.time_ns for block in b.blocks]) - b.clock.epoch_ns
            truth = b.world.axes["x"].position(times / 1e9)
            begin = [path.segment(0).bound(p)["x"] for p in range(40)]
            begin += [path.segment(1).bound(p)["x"] for p in range(40, 80)]
            off = (truth - begin).reshape(2, 40).mean(axis=1)
            apart.append(float(off[0] - off[1]))
            seen = b.column("x") - path.setpoints(0, 80)["x"]
            if latency:
                # Rows say where the stage was, not what the late encoder read.
                middle = truth + np.repeat([1, -1], 40) * 50.0 * 0.0004
                assert np.abs(b.column("x") - middle).max() < 0.002
                assert np.abs(seen).max() < 0.01
    assert apart[0] == pytest.approx(2 * 50.0 * 5e-4, abs=0.002)
    assert apart[1] == pytest.approx(0.0, abs=0.002)
