"""The in-memory box conforms to the contracts."""

from flyscan.testing import CaptureSuite, MotionSuite
from tests.conformance.memory_bench import capture_bench, motion_bench


class TestMemoryMotion(MotionSuite):
    def make_bench(self):
        return motion_bench()


class TestMemoryCapture(CaptureSuite):
    def make_bench(self):
        return capture_bench()
