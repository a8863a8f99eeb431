"""Slow channels from simulated records, joined to rows by time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import numpy as np
import pytest

from flyscan.controllers.epics import EpicsMonitor
from flyscan.errors import CaptureError, ConfigurationError, ConnectionLostError
from flyscan.flight import Clock, IntArray, RealClock
from tests.controllers.ca_rig import Rig, connected, put, serve


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with serve(RealClock()) as rig:
        yield rig


class Ahead:
    """A clock that differs from that of the beamline by a constant."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.epoch_ns = clock.epoch_ns + round(seconds * 1e9)
        self.now = clock.now
        self.sleep = clock.sleep
        self.sleep_until = clock.sleep_until


def now_ns(clock: Clock) -> int:
    return clock.epoch_ns + round(clock.now() * 1e9)


def at(*times_ns: int) -> IntArray:
    return np.array(times_ns, dtype=np.int64)


async def samples(monitor: EpicsMonitor, clock: Clock, count: int) -> tuple[list[int], list[float]]:
    """Drain until there are `count` samples."""
    times, values = list[int](), list[float]()
    async with asyncio.timeout(10):
        while len(times) < count:
            new_times, new_values = monitor.drain()
            times.extend(new_times.tolist())
            values.extend(new_values.tolist())
            await clock.sleep(0.02)
    return times, values


async def test_ring_current_follows_the_ring(rig: Rig) -> None:
    monitor = EpicsMonitor("current", rig.pv("RING:CURRENT"), clock=rig.clock, timeout=2.0)
    await monitor.connect()
    await monitor.connect()
    try:
        began = now_ns(rig.clock)
        times, values = await samples(monitor, rig.clock, 4)

        assert monitor.channel.name == "current"
        assert monitor.channel.unit == "mA"
        assert monitor.channel.source == f"ca://{rig.pv('RING:CURRENT')}"
        assert monitor.channel.dtype == "<f8"
        assert times == sorted(times)
        truth = rig.world.beam_current((np.array(times) - rig.clock.epoch_ns) / 1e9)
        np.testing.assert_allclose(values, truth, rtol=1e-4)
        assert monitor.clock_offset == 0.0
        rows = at(began - 3_600_000_000_000, times[1] - 1, times[1], times[1] + 1, times[2])
        np.testing.assert_array_equal(
            monitor.join(rows), [math.nan, values[0], values[1], values[1], values[2]]
        )
    finally:
        await monitor.close()
        await monitor.close()


@pytest.mark.parametrize("seconds", [3.0, -3.0])
async def test_an_ioc_with_another_clock_is_corrected(rig: Rig, seconds: float) -> None:
    local = Ahead(rig.clock, seconds)
    monitor = EpicsMonitor("current", rig.pv("RING:CURRENT"), clock=local, timeout=2.0)
    await monitor.connect()
    try:
        await rig.clock.sleep(0.35)
        began = now_ns(local)
        times, _ = await samples(monitor, rig.clock, 4)

        assert monitor.clock_offset == pytest.approx(-seconds, abs=0.05)
        assert abs(times[-1] - began) < 0.5e9
    finally:
        await monitor.close()


async def test_a_known_offset_is_used_as_given(rig: Rig) -> None:
    monitor = EpicsMonitor("shutter", rig.pv("SHUTTER"), offset=2.5, clock=rig.clock)
    assert monitor.clock_offset == 2.5
    await monitor.connect()
    try:
        await put(rig.pv("SHUTTER"), 0)
        await put(rig.pv("SHUTTER"), 1)
        times, values = await samples(monitor, rig.clock, 2)

        assert values[-1] == 1.0
        assert now_ns(rig.clock) - times[-1] == pytest.approx(2.5e9, abs=0.5e9)
    finally:
        await monitor.close()


async def test_while_the_ioc_is_away_there_is_no_value(rig: Rig) -> None:
    monitor = EpicsMonitor("shutter", rig.pv("SHUTTER"), clock=rig.clock, timeout=2.0)
    await monitor.connect()
    try:
        before = now_ns(rig.clock)
        assert not math.isnan(monitor.join(at(before))[0])

        await rig.server.stop()
        await rig.clock.sleep(0.2)
        away = now_ns(rig.clock)
        assert math.isnan(monitor.join(at(away))[0])

        await rig.start()
        async with asyncio.timeout(20):
            while math.isnan(monitor.join(at(now_ns(rig.clock)))[0]):
                await rig.clock.sleep(0.02)
        joined = monitor.join(at(before, away))
        assert not math.isnan(joined[0])
        assert math.isnan(joined[1])
        assert np.isnan(monitor.drain()[1]).sum() == 1
    finally:
        await monitor.close()


async def test_samples_nobody_drains_fail_the_flight(rig: Rig) -> None:
    pv = rig.pv("RING:CURRENT")
    monitor = EpicsMonitor("current", pv, capacity=2, clock=rig.clock, timeout=2.0)
    await monitor.connect()
    try:
        await rig.clock.sleep(0.5)
        with pytest.raises(CaptureError, match=r"current: \d samples found no room"):
            monitor.join(at(now_ns(rig.clock)))
    finally:
        await monitor.close()


async def test_a_record_nobody_serves_is_named(rig: Rig) -> None:
    async with connected(rig):  # Channel Access as such works
        monitor = EpicsMonitor("current", "NOBODY:CURRENT", clock=rig.clock, timeout=0.3)
        with pytest.raises(ConnectionLostError, match="current: no answer from NOBODY:CURRENT"):
            await monitor.connect()


async def test_a_text_is_no_slow_channel(rig: Rig) -> None:
    monitor = EpicsMonitor("current", rig.pv("RING:CURRENT.DESC"), clock=rig.clock, timeout=2.0)

    with pytest.raises(ConfigurationError, match=r"expected one number from .*DESC"):
        await monitor.connect()


def test_a_capacity_must_hold_something() -> None:
    with pytest.raises(ConfigurationError, match="capacity must be at least 2 samples, got 1"):
        EpicsMonitor("current", "SR:CURRENT", capacity=1)
