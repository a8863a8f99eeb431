"""A shutter behind records of the simulated IOC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flyscan.controllers.epics import EpicsShutter
from flyscan.errors import ConnectionLostError, WatchdogError
from flyscan.flight import RealClock
from tests.controllers.ca_rig import Rig, serve


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with serve(RealClock()) as rig:
        yield rig


async def test_it_writes_and_waits_for_the_state(rig: Rig) -> None:
    pv, state = rig.pv("SHUTTER"), rig.pv("SHUTTER:STATUS")
    shutter = EpicsShutter(
        "shutter", pv, readback=state, open_state=2.0, travel=1.0, clock=rig.clock
    )
    await shutter.connect()
    await shutter.connect()
    try:
        for _ in range(2):
            await shutter.shut()
            assert not rig.world.shutter.is_open(rig.clock.now())
            await shutter.open()
            assert rig.world.shutter.is_open(rig.clock.now())
    finally:
        await shutter.close()


async def test_one_that_does_not_move_is_named(rig: Rig) -> None:
    shutter = EpicsShutter(
        "shutter",
        rig.pv("X.VELO"),
        open_value=2.0,
        readback=rig.pv("X.RBV"),
        travel=0.05,
        clock=rig.clock,
    )
    await shutter.connect()
    try:
        with pytest.raises(
            WatchdogError, match=r"shutter: .*X\.RBV is .*, expected 2 within 0.05 s"
        ):
            await shutter.open()
    finally:
        await shutter.close()


async def test_a_record_nobody_serves_is_named(rig: Rig) -> None:
    shutter = EpicsShutter("shutter", rig.pv("NOBODY"), clock=rig.clock, timeout=0.2)
    await shutter.shut()  # harmless before it is connected
    try:
        with pytest.raises(ConnectionLostError, match="shutter"):
            await shutter.connect()
    finally:
        await shutter.close()
