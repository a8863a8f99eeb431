"""The conformance suite of motions."""

from __future__ import annotations

from ._motion_basics import MotionBasics
from ._motion_holds import MotionHolds
from ._motion_settings import MotionSettings
from ._motion_stops import MotionStops
from ._motion_sweeps import MotionSweeps

__all__ = ["MotionSuite"]


class MotionSuite(MotionBasics, MotionSweeps, MotionHolds, MotionStops, MotionSettings):
    """What every :class:`~flyscan.flight.Motion` must do; subclass it in a test module::

        class TestMyMotion(MotionSuite):
            @asynccontextmanager
            async def make_bench(self):
                async with my_simulated_box() as box:
                    yield MotionBench(make=lambda: MyMotion("my", box.port), ...)

    Every test gets a bench of its own. It needs pytest and pytest-asyncio.
    """
