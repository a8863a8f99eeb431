"""A PandA without network and without a world: positions are given as functions of time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from flyscan_sim.panda._buffer import BlockBuffer
from flyscan_sim.panda._control import ControlSession
from flyscan_sim.panda._device import Device
from flyscan_sim.panda._engine import Engine
from flyscan_sim.panda._experiment import Experiment
from flyscan_sim.panda._layout import load_layout

FIXTURES = Path(__file__).parents[1] / "fixtures" / "panda"


class Path1D:
    """A stage that goes from turning point to turning point at one speed, counts."""

    def __init__(self, points: list[float], speed: float, start: float = 1e-3) -> None:
        legs = np.abs(np.diff(points)) / speed
        self.times = start + np.concatenate(([0.0], np.cumsum(legs)))
        self.points = np.array(points)

    def __call__(self, seconds: np.ndarray) -> np.ndarray:
        return np.floor(np.interp(seconds, self.times, self.points)).astype(np.int64)

    @property
    def end(self) -> float:
        return float(self.times[-1])


class Rig:
    """Engine, server logic and one control session; time is moved by :meth:`run`."""

    def __init__(
        self,
        encoders: dict[str, Callable] | None = None,
        trains: dict[str, Callable] | None = None,
        *,
        block_period: float = 0.1,
        absolute: bool = True,
    ) -> None:
        self.engine = Engine(load_layout(), encoders or {}, trains or {})
        self.buffer = BlockBuffer()
        self.experiment = Experiment(self.engine, self.buffer, 0, block_period)
        self.device = Device(load_layout(), self.engine, self.experiment)
        self.engine.fields = self.device.fields
        self.experiment.device = self.device
        self.session = ControlSession(self.device)
        for name in encoders or {}:
            if absolute:
                self.put(f"{name}.PROTOCOL=SSI")

    @property
    def now(self) -> float:
        return self.engine.tick * 8e-9

    def put(self, *commands: str) -> None:
        for command in commands:
            reply = self.session.handle(command)
            assert reply == "OK\n", f"{command}: {reply}"

    def get(self, name: str) -> str:
        reply = self.session.handle(f"{name}?")
        assert reply is not None
        assert reply.startswith("OK ="), f"{name}: {reply}"
        return reply[4:-1]

    def table(self, name: str, rows: list[tuple[int, ...]], form: str = "<") -> str:
        self.session.handle(f"{name}{form}")
        for row in rows:
            self.session.handle(" ".join(str(word) for word in row))
        reply = self.session.handle("")
        assert reply is not None
        return reply[:-1]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.engine.advance_to(self.engine.tick + round(seconds / 8e-9))
        self.experiment.service()

    def run_to(self, seconds: float) -> None:
        self.run(max(seconds - self.now, 0.0))

    def capture(self, *fields: str, trigger: str = "PCOMP1.OUT") -> None:
        """Capture `fields` ("NAME=Value ...") at each pulse of `trigger`, and arm."""
        for field in fields:
            name, _, options = field.partition("=")
            self.put(f"{name}.CAPTURE={options or 'Value'}")
        self.put(f"PCAP.TRIG={trigger}", "PCAP.ENABLE=ONE", "*PCAP.ARM=")

    def rows(self) -> np.ndarray:
        """All samples so far, ended or not, as a structured array with names of the capture."""
        plan = self.experiment.plan
        assert plan is not None
        batches = [*self.experiment._pending, *self.engine.batches]
        data = b"".join(block.data for block in self.buffer._blocks)
        data += b"".join(batch.samples.tobytes() for batch in batches)
        names = [column.key for column in plan.columns]
        names = [f"{n} again" if n in names[:i] else n for i, n in enumerate(names)]
        dtype = np.dtype([(n, c.dtype) for n, c in zip(names, plan.columns, strict=True)])
        return np.frombuffer(data, dtype)


def sequencer_row(
    repeats: int = 1,
    trigger: int = 0,
    position: int = 0,
    time1: int = 0,
    out1: int = 0,
    time2: int = 1,
    out2: int = 0,
) -> tuple[int, int, int, int]:
    """One row of a SEQ table as the words that are sent."""
    control = repeats | trigger << 16 | out1 << 20 | out2 << 26
    return control, position & 0xFFFF_FFFF, time1, time2
