"""The simulated nanoprobe as a process, and the host configuration that flies it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from ..controllers.epics import use_channel_access
from ..errors import ConfigurationError, ConnectionLostError

__all__ = ["SimulatedNanoprobe", "host_config"]

START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


def host_config(ready: dict[str, Any]) -> dict[str, Any]:
    """The flight host's configuration for a simulated nanoprobe.

    The flyer is called ``nano``; a real beamline's configuration has the same form, with the
    addresses, encoders and axes of its own boxes.

    Args:
        ready: the line ``flyscan-sim nanoprobe`` prints when it is ready.
    """
    gcs, panda, ca, camera = (ready[key] for key in ("gcs", "panda", "ca", "areadetector"))
    counters = {
        element: {"field": f"COUNTER{n}.OUT", "trig": f"TTLIN{n}.VAL", "unit": "counts"}
        for n, element in enumerate(("I0", "Fe", "Cu", "Zn"), start=1)
    }
    return {
        "controllers": {
            "stage": {
                "class": "flyscan.controllers.gcs:GcsMotion",
                "params": {
                    "host": gcs["host"],
                    "port": gcs["port"],
                    "axes": {
                        "x": {"id": "1", "unit": "um", "acceleration": 5e4, "settle": 0.01},
                        "y": {"id": "2", "unit": "um", "acceleration": 5e4, "settle": 0.01},
                    },
                },
            },
            "panda": {
                "class": "flyscan.controllers.panda:PandaCapture",
                "params": {
                    "host": panda["host"],
                    "control_port": panda["control_port"],
                    "data_port": panda["data_port"],
                    "encoders": {
                        "x": {"encoder": "INENC1", "resolution": 0.001, "unit": "um"},
                        "y": {"encoder": "INENC2", "resolution": 0.001, "unit": "um"},
                    },
                    "channels": counters,
                    "settings": {f"{camera['trigger']}.VAL": "PULSE1.OUT"},
                },
            },
            "ring": {
                "class": "flyscan.controllers.epics:EpicsMonitor",
                "params": {"pv": ca["ring"], "unit": "mA"},
            },
        },
        "flyers": {
            "nano": {
                "motion": "stage",
                "capture": "panda",
                "monitors": ["ring"],
                "align": {key: {"tolerance": 0.05, "distance": 1.0} for key in ("x", "y")},
            }
        },
    }


class SimulatedNanoprobe:
    """Runs ``flyscan-sim nanoprobe``, for the length of a ``with`` block or by hand.

    Starting it points the Channel Access of this process, and of those it starts, at the
    simulated IOC, so start it before anything uses EPICS.

    Args:
        options: more command line options of ``flyscan-sim nanoprobe``.
        here: False if only flight hosts in processes of their own will use EPICS.

    Attributes:
        ready: the end points it printed.
        host_config: configuration for a flight host.
    """

    def __init__(self, *options: str, here: bool = True) -> None:
        self._options: Sequence[str] = options
        self._here = here
        self._process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}

    @property
    def host_config(self) -> dict[str, Any]:
        return host_config(self.ready)

    def start(self) -> SimulatedNanoprobe:
        """Start it; returns when it is ready.

        Raises:
            ConnectionLostError: it ended before it was ready.
            ConfigurationError: this process uses Channel Access already, with other servers.
        """
        command = [sys.executable, "-m", "flyscan_sim", "nanoprobe", "--exit-with-parent"]
        self._process = subprocess.Popen(
            [*command, *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            code = self._process.wait(START_TIMEOUT)
            self.stop()
            raise ConnectionLostError(
                f"ended with exit code {code} before it was ready",
                device="flyscan-sim",
                remedy="run `flyscan-sim nanoprobe` by hand to see why",
            )
        self.ready = json.loads(line)
        ca = self.ready["ca"]
        try:
            use_channel_access(f"{ca['host']}:{ca['port']}", here=self._here)
        except ConfigurationError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> SimulatedNanoprobe:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
