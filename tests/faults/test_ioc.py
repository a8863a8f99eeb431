"""IOCs go and come back, and their clocks are set: on real time, as Channel Access goes by it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import numpy as np
from scanspec.specs import Fly, Linspace

from flyscan.controllers import CombinedMotion
from flyscan.controllers.epics import EpicsMonitor, EpicsMotion
from flyscan.errors import ConnectionLostError
from flyscan.flight import Clock, Monitor, Motion, Path, RealClock, ScaledClock, Trigger
from flyscan_sim.nanoprobe import Nanoprobe
from tests.controllers.ca_rig import _ports
from tests.faults.nano import Station, snake, station

#: libca searches for a lost channel only after up to some 10 s.
BACK = 16.0


def coarse_lines(height: float = 0.5, lines: int = 2) -> Path:
    """Lines of the fine x, with steps of the coarse y in between."""
    lines_y = Linspace("coarse_y", 0.0, height, lines)
    spec = Fly(lines_y * ~Linspace("x", 40.0, 44.95, 100))
    return Path.from_spec(spec, trigger=Trigger.POSITION, period=0.001)


@asynccontextmanager
async def with_ioc(
    folder: FilePath, *, motor: bool = False, clock: Clock | None = None
) -> AsyncIterator[Station]:
    clock = clock or RealClock()
    port = next(_ports())

    def monitors(nano: Nanoprobe) -> tuple[Monitor, ...]:
        pv = nano.endpoints["ca"]["ring"]
        return (EpicsMonitor("ring", pv, "mA", clock=clock, timeout=5.0),)

    def both(stage: Motion) -> Motion:
        axes = {"coarse_y": {"pv": f"F{port}:COARSE:Y", "settle": 0.0}}
        coarse = EpicsMotion("coarse", axes, clock=clock, timeout=1.0)
        return CombinedMotion("both", {"stage": stage, "coarse": coarse})

    motion: Callable[[Motion], Motion] | None = both if motor else None
    async with station(
        folder, clock=clock, channel_access=port, monitors=monitors, motion=motion
    ) as st:
        yield st


def ring(st: Station) -> np.ndarray:
    return np.asarray(st.sink.column("ring"), float)


def current(st: Station) -> float:
    """The ring current of this moment, as a row would get it."""
    now = st.clock.epoch_ns + round(st.clock.now() * 1e9)
    return float(st.rig.monitors[0].join(np.array([now]))[0])


async def test_ioc_of_a_monitor_gone_leaves_gaps_and_nothing_else(tmp_path: FilePath):
    """Rows of the time without ring current say so (NaN); the flight goes on."""
    async with with_ioc(tmp_path) as st:
        path = snake(points=800, lines=3)
        await st.kickoff(path)
        await st.in_line(60.0)
        began = st.clock.now()
        await st.nano.ca.stop()
        await st.finish()
        assert st.clock.now() - began < 5.0
        await st.check_exact(path)
        assert not np.isnan(ring(st)[:100]).any()
        assert np.isnan(ring(st)[-100:]).all()


async def test_ioc_of_a_monitor_gone_and_back_has_a_gap_in_between(tmp_path: FilePath):
    async with with_ioc(tmp_path) as st:
        path = snake(points=800, lines=3)
        await st.kickoff(path)
        await st.in_line(50.0)
        began = st.clock.now()
        await st.nano.ca.stop()
        await st.in_line(70.0)
        await st.rig.hold("no ring")
        await st.nano.ca.start()
        await st.when(lambda: not np.isnan(current(st)))
        st.rig.release("no ring")
        await st.finish()
        assert st.clock.now() - began < BACK
        await st.check_exact(path)
        away = np.isnan(ring(st))
        assert not away[:100].any()
        assert not away[-1]
        assert np.count_nonzero(np.diff(away.astype(int))) == 2


async def test_clock_of_an_ioc_set_in_flight_shifts_no_value(tmp_path: FilePath):
    """Set forward or back: every row still gets the current of its own time."""
    async with with_ioc(tmp_path) as st:
        path = snake(points=800, lines=4)
        await st.kickoff(path)
        await st.in_line(50.0)
        st.fault("clock_step", by=100.0, box="ioc")
        await st.when(lambda: st.at("y") > 51.5)
        st.fault("clock_step", by=-130.0, box="ioc")
        await st.finish()
        await st.check_exact(path)
        rows = (np.asarray(st.sink.column("time_ns")) - st.clock.epoch_ns) / 1e9
        read = np.concatenate([t for t, _ in st.sink.monitors["ring"]])
        read = (read - st.clock.epoch_ns) / 1e9
        assert np.all(np.diff(read) >= 0)
        assert read[-1] < st.clock.now()
        # A reading is at most a period of the record, and what it was delayed, old.
        fresh = [st.nano.world.beam_current(rows - age) for age in np.linspace(0.0, 0.4, 9)]
        assert np.all(ring(st) <= np.max(fresh, axis=0) + 1e-4)
        assert np.all(ring(st) >= np.min(fresh, axis=0) - 1e-4)


async def test_ioc_of_a_motor_gone_in_its_move_and_back_loses_nothing(tmp_path: FilePath):
    async with with_ioc(tmp_path, motor=True) as st:
        path = coarse_lines(height=2.0)
        await st.kickoff(path)
        await st.when(lambda: st.at("coarse_y") > 0.5)
        began = st.clock.now()
        await st.nano.ca.stop()
        await st.clock.sleep(0.5)
        await st.nano.ca.start()
        await st.finish()
        assert st.clock.now() - began < BACK
        await st.check_exact(path)


async def test_ioc_of_a_motor_gone_for_good_is_named_within_20_s(tmp_path: FilePath):
    async with with_ioc(tmp_path, motor=True, clock=ScaledClock(5.0)) as st:
        path = coarse_lines(height=8.0)
        await st.kickoff(path)
        await st.when(lambda: st.at("coarse_y") > 0.5)
        began = st.clock.now()
        await st.nano.ca.stop()
        error = await st.failure()
        # 15 s for its return, and some time-outs of Channel Access, which goes by real time.
        assert st.clock.now() - began < 15.0 + 5.0 * 6.0
        assert isinstance(error, ConnectionLostError)
        assert re.match(
            r"coarse\.coarse_y: no connection to F\d+:COARSE:Y for 1[5-9]\.\d s, last seen at \S+ "
            r"on the way to 8\. Remedy: check the IOC and the network; the move ends at its target "
            r"by itself; settings of both could not be put back",
            str(error),
        )
        st.check_told()
        st.check_prefix(path)
        assert st.journal == ["both"]
