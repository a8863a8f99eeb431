"""The in-memory box conforms to the contracts, and so do boxes that can do less."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyscan.errors import ConfigurationError
from flyscan.flight import CaptureCapabilities, Channel, Path, Trigger
from flyscan.testing import CaptureSuite, MemoryCapture, MotionSuite
from tests.conformance.memory_bench import capture_bench, motion_bench


class TimeOnly(MemoryCapture):
    """A detector that triggers itself: it sees no encoder."""

    @property
    def capabilities(self) -> CaptureCapabilities:
        return replace(super().capabilities, position=False, step_in_flight=False)

    def channels(self) -> tuple[Channel, ...]:
        return tuple(channel for channel in super().channels() if channel.axis is None)

    def validate(self, path: Path) -> tuple[str, ...]:
        refuse(path, Trigger.POSITION, self.name)
        return super().validate(path)

    async def align(self, axis: str, *_: object, **__: object) -> float:
        raise ConfigurationError("there is no encoder", device=self.name, remedy="wire one")


class PositionOnly(MemoryCapture):
    """A box without a pulse generator."""

    @property
    def capabilities(self) -> CaptureCapabilities:
        return replace(super().capabilities, time=False)

    def validate(self, path: Path) -> tuple[str, ...]:
        refuse(path, Trigger.TIME, self.name)
        return super().validate(path)


class FixedStep(MemoryCapture):
    """A box whose trigger step cannot be changed during a sweep."""

    @property
    def capabilities(self) -> CaptureCapabilities:
        return replace(super().capabilities, step_in_flight=False)

    async def retune(self, factor: float) -> None:
        raise ConfigurationError("cannot", device=self.name, remedy="do not")


def refuse(path: Path, trigger: Trigger, device: str) -> None:
    if any(segment.trigger is trigger for segment in path.segments()):
        raise ConfigurationError(f"cannot trigger by {trigger}", device=device, remedy="do not")


class TestMemoryMotion(MotionSuite):
    def make_bench(self):
        return motion_bench()


class TestMemoryMotionByItsReadback(MotionSuite):
    """Nobody knows where the axes really are."""

    def make_bench(self):
        return motion_bench(truth=False)


class TestMemoryCapture(CaptureSuite):
    @pytest.fixture(params=[MemoryCapture, TimeOnly, PositionOnly, FixedStep], autouse=True)
    def kind(self, request: pytest.FixtureRequest) -> None:
        self.made = request.param

    def make_bench(self):
        return capture_bench(self.made)
