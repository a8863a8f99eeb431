"""A simulated beamline to try flyscan on."""

from ._demo import DemoResult, run_demo
from ._nanoprobe import SimulatedNanoprobe, host_config

__all__ = ["DemoResult", "SimulatedNanoprobe", "host_config", "run_demo"]
