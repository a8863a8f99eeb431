"""A camera and its file plugin on the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import caproto as ca
import numpy as np
from numpy.typing import NDArray

from flyscan_sim.epics._channels import WANTS_COMPLETION
from flyscan_sim.world import World

from ._bank import Bank
from ._camera import Camera, CameraSpec, Frame
from ._plugin import HdfPlugin
from ._tables import CAMERA

__all__ = ["AreaDetector"]

POLL_S = 0.01
"""How often frames are fetched while acquiring: they are delivered so late at most."""


class AreaDetector:
    """Channels of one areaDetector IOC, as ADVimba and NDFileHDF5 have them.

    Each frame shows a spot whose sum is the pulses of one of the world's channels during its
    exposure.

    Args:
        world: what it looks at.
        prefix: of all names.
        edges: rising edges of its trigger cable (input ``Line1``) at world times in
            ``(start, end]``.
        spec: the camera.
    """

    def __init__(
        self,
        world: World,
        prefix: str,
        edges: Callable[[float, float], Iterable[float]],
        spec: CameraSpec | None = None,
    ) -> None:
        spec = spec or CameraSpec()
        self.prefix = prefix
        self.camera = Camera(spec, world.faults, edges)
        self._world = world
        self._clock = world.clock
        self._spot = _spot(spec.shape)
        actions = {
            "Acquire": self._acquire,
            "AcquireTime": self._set_time("AcquireTime"),
            "AcquirePeriod": self._set_time("AcquirePeriod"),
            "ExposureMode": self._set_exposure_mode,
        }
        self.driver = Bank(f"{prefix}cam1:", CAMERA, self._clock, actions)
        self.writer = HdfPlugin(f"{prefix}HDF1:", spec.shape, self._clock)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def database(self) -> dict[str, ca.ChannelData]:
        """Channels by full name."""
        return {**self.driver.database, **self.writer.bank.database}

    async def run(self) -> None:
        """Live until cancelled; an open file is closed then."""
        rows, columns = self.camera.spec.shape
        await self.driver.post(Model=self.camera.spec.model, ArraySizeX=columns, ArraySizeY=rows)
        try:
            while True:
                await self._wake.wait()
                await self._deliver(self.camera.advance(self._clock.now()))
                if self.camera.acquiring:
                    await self._clock.sleep(POLL_S)
                else:
                    await self._end()
        finally:
            await self.writer.close()

    async def _deliver(self, frames: list[Frame]) -> None:
        if not frames:
            return
        first = int(self.driver.number("UniqueId")) + 1
        numbers = range(first, first + len(frames))
        epoch = self._clock.epoch_ns * 1e-9
        images = self._images(frames, first)
        await self.driver.post(
            UniqueId=numbers[-1],
            ArrayCounter=int(self.driver.number("ArrayCounter")) + len(frames),
            NumImagesCounter=int(self.driver.number("NumImagesCounter")) + len(frames),
        )
        await self.writer.take(images, numbers, [epoch + frame.start for frame in frames])

    def _images(self, frames: list[Frame], first: int) -> NDArray[np.uint16]:
        """Images (n, rows, columns) with the pulses during each exposure spread over the spot."""
        ends = np.array([(frame.start, frame.start + frame.exposure) for frame in frames])
        pulses = np.diff(self._world.counted(self.camera.spec.channel, ends), axis=1)[:, 0]
        images = [
            np.random.default_rng((self._world.seed, first + i)).multinomial(n, self._spot)
            for i, n in enumerate(pulses.tolist())
        ]
        return np.array(images, np.uint16).reshape(len(frames), *self.camera.spec.shape)

    async def _acquire(self, label: str) -> None:
        if label == "Done":
            self.camera.disarm()
            await self._end()
            return
        if not self.camera.acquiring:
            await self._begin()
        if WANTS_COMPLETION.get():
            await self._idle.wait()

    async def _begin(self) -> None:
        driver = self.driver
        mode, source = driver.text("ImageMode"), driver.text("TriggerSource")
        triggered = driver.text("TriggerMode") == "On" and source not in ("Freerun", "FixedRate")
        frames = {"Single": 1, "Multiple": int(driver.number("NumImages"))}.get(mode)
        self._idle.clear()
        await driver.post(Acquire=1, DetectorState="Acquire", NumImagesCounter=0)
        self.camera.arm(
            self._clock.now(),
            exposure=driver.number("AcquireTime"),
            period=driver.number("AcquirePeriod"),
            frames=frames,
            external=triggered,
        )
        self._wake.set()

    async def _end(self) -> None:
        self._wake.clear()
        if not self._idle.is_set():
            await self.driver.post(Acquire=0, DetectorState="Idle")
            self._idle.set()

    def _set_time(self, name: str) -> Callable[[Any], Any]:
        async def put(value: Any) -> None:
            await self.driver.post(**{name: max(0.0, float(value))})

        return put

    async def _set_exposure_mode(self, label: str) -> None:
        if label != "Timed":
            raise ValueError("this camera times its exposures itself")
        await self.driver.post(ExposureMode=label)


def _spot(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Probability of each pixel, shape (rows * columns,): a Gaussian in the middle."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    spot = np.exp(-np.add.outer((y / shape[0] * 6) ** 2, (x / shape[1] * 6) ** 2) / 2).ravel()
    return spot / spot.sum()
