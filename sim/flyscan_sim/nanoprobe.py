"""The simulated nanoprobe: one world behind a PandA, two PI controllers and Channel Access."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final

from flyscan.flight import Clock, RealClock

from .areadetector import AreaDetector
from .epics import Beamline, CaServer
from .gcs import C863, E727, GcsServer
from .panda import PandaServer, PandaWiring
from .world import Detector, FaultScript, nanoprobe_world

__all__ = ["Nanoprobe", "NanoprobePorts"]

WIRING: Final = PandaWiring(
    encoders={"INENC1": "x", "INENC2": "y", "INENC3": "z", "INENC4": "detector"},
    pulses={
        "TTLIN1": "I0",
        "TTLIN2": "Fe",
        "TTLIN3": "Cu",
        "TTLIN4": "Zn",
        "TTLIN5": "E-727.1",
        "TTLIN6": "E-727.2",
    },
    outputs=("TTLOUT1",),
)
"""Cables of the PandA: encoders, detectors, trigger outputs of the piezo controller; the camera."""

_PIEZO: Final = {"1": "x", "2": "y", "3": "z"}
_DETECTOR_STAGE: Final = {"1": "detector"}
_MOTORS: Final = {"COARSE:X": "coarse_x", "COARSE:Y": "coarse_y", "COARSE:Z": "coarse_z"}


@dataclass(frozen=True)
class NanoprobePorts:
    """Ports to listen on; 0 picks a free one."""

    panda_control: int = 0
    panda_data: int = 0
    gcs: int = 0
    gcs_c863: int = 0
    ca: int = 0


class Nanoprobe:
    """The default world and its servers, for the length of an ``async with`` block.

    The piezo stage answers as an E-727 whose servos are on, the detector stage as a C-863 that
    has been referenced, the coarse stage as EPICS motor records. A camera triggered by the
    PandA is an areaDetector IOC.

    Args:
        clock: the time everything lives in, real by default.
        seed: fixes sample, vibration and counting noise.
        faults: JSON texts of fault scripts.
        host: where to listen.
        panda_host: where the PandA listens, if elsewhere.
        ports: fixed ports.
        block_period: how often the PandA hands over samples, s.
        prefix: of all EPICS names.
        sample: detectors to replace, by channel.

    Raises:
        ConfigurationError: a fault script does not make sense, or there is no such channel.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        faults: Iterable[str] = (),
        host: str = "127.0.0.1",
        panda_host: str | None = None,
        ports: NanoprobePorts | None = None,
        block_period: float = 0.1,
        prefix: str = "SIM:",
        sample: Mapping[str, Detector] | None = None,
    ) -> None:
        clock = clock or RealClock()
        ports = ports or NanoprobePorts()
        self.world = nanoprobe_world(
            clock, seed, FaultScript.from_json(clock, *faults), chosen=sample
        )
        self._host = host
        self._panda_host = panda_host or host
        self.gcs = GcsServer(self.world, E727, _PIEZO, host, ports.gcs, homed=True)
        self.gcs_c863 = GcsServer(
            self.world, C863, _DETECTOR_STAGE, host, ports.gcs_c863, homed=True
        )
        for line in (1, 2):
            self.world.connect(f"E-727.{line}", partial(self.gcs.rising_edges, line))
        self.panda = PandaServer(
            self.world,
            WIRING,
            host=self._panda_host,
            control_port=ports.panda_control,
            data_port=ports.panda_data,
            block_period=block_period,
        )
        self.beamline = Beamline(self.world, _MOTORS, prefix=prefix)
        (trigger,) = WIRING.outputs
        edges = partial(self.panda.rising_edges, trigger)
        self.camera = AreaDetector(self.world, f"{prefix}CAM:", edges)
        self.ca = CaServer([*self.beamline.records, self.camera], host, ports.ca)
        self._stack = AsyncExitStack()

    @property
    def endpoints(self) -> dict[str, Any]:
        """Where everything is to be found, ready to be written as JSON."""
        return {
            "world": "nanoprobe",
            "panda": {
                "host": self._panda_host,
                "control_port": self.panda.control_port,
                "data_port": self.panda.data_port,
                "encoders": dict(WIRING.encoders),
                "pulses": dict(WIRING.pulses),
            },
            "gcs": {"host": self._host, "port": self.gcs.port, "axes": dict(_PIEZO)},
            "gcs_c863": {
                "host": self._host,
                "port": self.gcs_c863.port,
                "axes": dict(_DETECTOR_STAGE),
            },
            "ca": {"host": self._host, "port": self.ca.port, **self.beamline.endpoints()},
            "areadetector": {"prefix": self.camera.prefix, "trigger": WIRING.outputs[0]},
        }

    async def start(self) -> None:
        """Open all ports, or none.

        Raises:
            OSError, ConfigurationError: an address or port cannot be had.
        """
        async with AsyncExitStack() as stack:
            for server in (self.panda, self.gcs, self.gcs_c863, self.ca):
                stack.push_async_callback(server.stop)
                await server.start()
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Close everything; safe to call again."""
        await self._stack.aclose()

    async def __aenter__(self) -> Nanoprobe:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
