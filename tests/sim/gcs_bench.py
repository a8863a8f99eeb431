"""A controller on a bench: text in, text out, time moved by hand, no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flyscan_sim.gcs import C863, C885, E727, Controller, Profile
from flyscan_sim.gcs._codec import RequestDecoder
from flyscan_sim.world import AxisSpec, FaultScript, World

PIEZO = AxisSpec("um", 1e-3, 0.0, 100.0, 2000.0, 1e5, lag=1e-3, jitter=2e-3, start=50.0)
MOTOR = AxisSpec("mm", 1e-4, -25.0, 25.0, 50.0, 500.0, lag=2e-3, jitter=5e-5, start=3.0)
STEPPER = AxisSpec("mm", 1e-4, 0.0, 26.0, 0.6, 10.0, start=9.0)
STAGES: Mapping[str, AxisSpec] = {E727.name: PIEZO, C863.name: MOTOR, C885.name: STEPPER}


class HandClock:
    """A clock for code that only asks for the time."""

    epoch_ns = 0

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError("nobody sleeps on a bench")

    sleep_until = sleep


def make_world(clock, axes: Mapping[str, AxisSpec]) -> World:
    return World(clock, axes, {}, horizontal={}, vertical={}, faults=FaultScript(clock))


def wired(profile: Profile) -> dict[str, str]:
    """Every axis of the profile with a stage of the same name."""
    return {name: f"stage{name}" for name in profile.axis_ids}


def stages(profile: Profile, spec: AxisSpec | None = None) -> dict[str, AxisSpec]:
    return dict.fromkeys(wired(profile).values(), spec or STAGES[profile.name])


class Bench:
    def __init__(self, profile: Profile, *, homed=False, axes=None, spec=None, **changes) -> None:
        self.clock = HandClock()
        profile = replace(profile, **changes)
        self.world = make_world(self.clock, stages(profile, spec))
        self.controller = Controller(self.world, profile, axes or wired(profile), homed=homed)
        self._decoder = RequestDecoder()

    def ask(self, text: str) -> str:
        """Send a line (or a single byte) and return the answer without its last LF."""
        data = text.encode("cp1252")
        line = data if text in "\x04\x05\x07\x09\x18" else data + b"\n"
        answer = b"".join(self.controller.handle(request) for request in self._decoder.feed(line))
        return answer.decode("cp1252").removesuffix("\n")

    def value(self, text: str) -> float:
        """The only value of an answer ``item=value``."""
        return float(self.ask(text).partition("=")[2])

    @property
    def error(self) -> int:
        return int(self.ask("ERR?"))

    def do(self, *lines: str) -> None:
        """Send commands that must be accepted and answer nothing."""
        for line in lines:
            assert self.ask(line) == "", line
            assert self.error == 0, line

    def refused(self, line: str) -> int:
        """Send something that must be refused: it answers nothing; returns the code."""
        assert self.ask(line) == "", line
        return self.error

    def wait(self, seconds: float) -> None:
        """Let time pass in steps, as a box does that looks after itself."""
        end = self.clock.time + seconds
        while self.clock.time < end:
            self.clock.time = min(end, self.clock.time + 0.05)
            self.controller.update()

    def stage(self, name: str = "1"):
        return self.controller.axes[name].stage
