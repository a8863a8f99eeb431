"""Watching moves, on a manual clock and without a network: every wait ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from flyscan.controllers.epics._axis import MotorAxis
from flyscan.controllers.epics._channels import Update
from flyscan.controllers.epics._motor_record import AxisSettings, Speed
from flyscan.controllers.epics._moves import Move, MoveGroup, come_to_rest
from flyscan.errors import (
    ConfigurationError,
    ConnectionLostError,
    LimitError,
    MotionError,
    WatchdogError,
)
from flyscan.flight import ManualClock
from flyscan.flight._changed import Changed

FIELDS = {"DMOV": 1.0, "MSTA": 2.0, "RBV": 0.0, "VAL": 0.0, "LVIO": 0.0, "LLM": -9.0, "HLM": 9.0}
MOVE = Move(target=8.0, speed=Speed(2.0, 0.5), seconds=4.5, tolerance=0.01)


class Ioc:
    """Fields of one record; what it does when written to is up to the test."""

    def __init__(self) -> None:
        self.fields = FIELDS | {"VELO": 1.0, "ACCL": 0.1}
        self.kind = "motor"
        self.read_only: set[str] = set()
        self.on_write: dict[str, Callable[[float], None]] = {}
        self.watched: dict[str, Callable[[Update], None]] = {}

    def post(self, **fields: float) -> None:
        for name, value in fields.items():
            self.fields[name] = value
            if name in self.watched:
                self.watched[name](Update(True, value))

    def lose(self) -> None:
        for callback in self.watched.values():
            callback(Update(False))

    async def read(self, pvs: Sequence[str]) -> list[float]:
        return [self.fields[pv.split(".")[1]] for pv in pvs]

    async def read_text(self, pv: str) -> str:
        return self.kind

    async def writable(self, pv: str) -> bool:
        return pv.split(".")[1] not in self.read_only

    async def write(self, pv: str, value: float) -> None:
        await self.send(pv, value)

    async def send(self, pv: str, value: float) -> None:
        name = pv.split(".")[1]
        self.fields[name] = value
        self.on_write.get(name, lambda _: None)(value)

    def watch(self, pv: str, callback: Callable[[Update], None]) -> None:
        name = pv.split(".")[1]
        self.watched[name] = callback
        callback(Update(True, self.fields[name]))


class Channels:
    """The side of `Ioc` that stands in for Channel Access."""

    def __init__(self, ioc: Ioc) -> None:
        self.read, self.read_text, self.writable = ioc.read, ioc.read_text, ioc.writable
        self.write, self.post, self.watch = ioc.write, ioc.send, ioc.watch


class Bench:
    def __init__(self) -> None:
        self.ioc, self.clock, self.changed = Ioc(), ManualClock(), Changed()
        self.motor = MotorAxis(
            "stage.x", AxisSettings("BL:X"), Channels(self.ioc), self.changed, self.clock, 2.0
        )
        self.ioc.on_write["VAL"] = lambda _: self.ioc.post(DMOV=0)

    def group(self, move: Move = MOVE) -> MoveGroup:
        return MoveGroup({"x": self.motor}, {"x": move}, self.clock, self.changed, 2.0)

    async def moving(self) -> tuple[MoveGroup, asyncio.Task[dict[str, float]]]:
        group = self.group()
        await group.begin()
        return group, asyncio.create_task(group.rest())

    async def creep(self, speed: float, seconds: float) -> None:
        """Let the read-back advance at `speed`, ten times a second."""
        for _ in range(round(seconds * 10)):
            await self.clock.advance(0.1)
            self.ioc.post(RBV=self.ioc.fields["RBV"] + speed / 10)


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    await bench.motor.begin()
    return bench


async def test_a_move_ends_at_its_target(bench: Bench) -> None:
    _, resting = await bench.moving()
    assert (bench.ioc.fields["VELO"], bench.ioc.fields["ACCL"]) == (2.0, 0.5)
    await bench.creep(2.0, 4.0)
    assert not resting.done()

    bench.ioc.post(RBV=8.005, DMOV=1)

    assert await resting == {}


async def test_a_move_that_ends_elsewhere_says_where(bench: Bench) -> None:
    group, resting = await bench.moving()
    bench.ioc.post(RBV=5.0, DMOV=1)

    missed = await resting

    assert missed == {"x": -3.0}
    assert str(group.astray(missed)).startswith(
        "stage.x: came to rest at 5 instead of 8 (tolerance 0.01). Remedy: "
    )


async def test_a_record_that_does_not_react_is_named(bench: Bench) -> None:
    bench.ioc.on_write.clear()
    beginning = asyncio.create_task(bench.group().begin())
    await bench.clock.advance(2.1)

    with pytest.raises(WatchdogError, match=r"stage\.x: DMOV = 0 .* within 2 s.*BL:X\.DISP"):
        await beginning


async def test_a_move_within_a_blink_is_a_move(bench: Bench) -> None:
    def blink(value: float) -> None:
        bench.ioc.post(DMOV=0, RBV=value)
        bench.ioc.post(DMOV=1)

    bench.ioc.on_write["VAL"] = blink
    group = bench.group()
    await group.begin()

    assert await group.rest() == {}


async def test_a_limit_violation_is_noticed(bench: Bench) -> None:
    def refuse(_: float) -> None:
        bench.ioc.post(DMOV=0, LVIO=1, VAL=0.0)
        bench.ioc.post(DMOV=1)

    bench.ioc.on_write["VAL"] = refuse

    with pytest.raises(LimitError, match="refuses to go to 8, soft limits are -9 to 9, VAL stays"):
        await bench.group().begin()


async def test_a_motor_that_stands_still_is_stopped_and_named(bench: Bench) -> None:
    stops: list[float] = []
    bench.ioc.on_write["STOP"] = stops.append
    _, resting = await bench.moving()
    await bench.creep(2.0, 1.0)

    await bench.clock.advance(4.2)

    with pytest.raises(MotionError, match=r"stage\.x: stands still at 2 on the way to 8: moved 0 "):
        await resting
    assert stops == [1]


async def test_a_motor_that_crawls_is_late(bench: Bench) -> None:
    _, resting = await bench.moving()
    limit = 1.5 * MOVE.seconds + 2.0
    await bench.creep(0.1, limit - 0.2)
    assert not resting.done()
    await bench.creep(0.1, 0.4)

    with pytest.raises(
        WatchdogError, match=r"stage\.x: the end of the move to 8 .* within 8\.75 s"
    ):
        await resting


async def test_a_fault_ends_the_wait_at_once(bench: Bench) -> None:
    _, resting = await bench.moving()
    bench.ioc.post(RBV=3.0, MSTA=0x40)

    with pytest.raises(MotionError, match=r"slip or stall detected on the way to 8, at 3.*0x40"):
        await resting


async def test_a_lost_connection_may_come_back_after_the_move(bench: Bench) -> None:
    _, resting = await bench.moving()
    bench.ioc.lose()
    await bench.clock.advance(12.0)
    assert not resting.done()

    bench.ioc.post(RBV=8.0, MSTA=2, DMOV=1)

    assert await resting == {}


async def test_a_connection_lost_for_good_is_named(bench: Bench) -> None:
    _, resting = await bench.moving()
    bench.ioc.lose()
    await bench.clock.advance(17.1)

    with pytest.raises(ConnectionLostError, match=r"stage\.x: no connection to BL:X for 1\d\.\d s"):
        await resting


async def test_the_last_word_on_rest_is_the_records(bench: Bench) -> None:
    """STOP right after VAL: DMOV's event may still be on its way."""
    bench.ioc.fields["DMOV"] = 0.0
    assert not bench.motor.moving

    stopping = asyncio.create_task(come_to_rest([bench.motor], 2.0))
    await bench.clock.advance(0.1)
    assert not stopping.done()
    bench.ioc.post(DMOV=1)

    await stopping


async def test_a_motor_that_does_not_stop_is_named(bench: Bench) -> None:
    await bench.group().begin()
    stopping = asyncio.create_task(come_to_rest([bench.motor], 2.0))
    await bench.clock.advance(1.5 * 0.5 + 2.1)

    with pytest.raises(WatchdogError, match=r"stage\.x: rest after STOP did not come"):
        await stopping


async def test_one_axis_that_cannot_be_told_does_not_spare_the_others(bench: Bench) -> None:
    async def fail(pv: str, value: float) -> None:
        raise ConnectionLostError("gone", device="stage.y")

    other = Bench()
    await other.motor.begin()
    other.motor._channels.post = fail
    stops: list[float] = []
    bench.ioc.on_write["STOP"] = stops.append

    with pytest.raises(ConnectionLostError, match=r"stage\.y: gone"):
        await come_to_rest([other.motor, bench.motor], 2.0)
    assert stops == [1]


async def test_a_record_of_another_kind_is_refused() -> None:
    bench = Bench()
    bench.ioc.kind = "ai"

    with pytest.raises(ConfigurationError, match="expected a motor record, BL:X is of type 'ai'"):
        await bench.motor.begin()


@pytest.mark.parametrize("field", ["VAL", "STOP", "VELO", "ACCL"])
async def test_a_record_we_may_not_write_is_refused(field: str) -> None:
    bench = Bench()
    bench.ioc.read_only = {field}

    with pytest.raises(ConfigurationError, match="may not be written from here"):
        await bench.motor.begin()
