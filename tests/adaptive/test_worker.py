"""Policies in a process of their own decide alike, hold nobody up, and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from flyscan.adaptive import (
    BeamGuard,
    Composite,
    LineContext,
    Plan,
    Policy,
    PriorSpeed,
    Proposal,
    Rows,
    Situation,
    Steering,
)
from flyscan.adaptive._seat import LocalSeat, Seat
from flyscan.adaptive._wire import rows_from_dict, rows_to_dict
from flyscan.adaptive._worker_seat import WorkerSeat
from flyscan.errors import WatchdogError
from flyscan.flight import State
from tests.adaptive.lines import RAIL, line, now, rows
from tests.adaptive.steered import LINES, POINTS, SteeredFlight
from tests.adaptive.tape import Dice


@dataclass(eq=False)
class Odd(Policy):
    """Does something odd when it is asked for the first time."""

    what: str = "sleep"

    def begin(self, line: LineContext) -> Plan:
        print("this is no answer")
        return Plan(None, "odd")

    def tell(self, rows: Rows) -> None:
        """Has no opinion."""

    def ask(self, now: Situation) -> Proposal | None:
        if self.what == "sleep":
            time.sleep(3600)
        if self.what == "exit":
            os._exit(3)
        if self.what == "raise":
            raise ZeroDivisionError("no counts")
        return None


class Calm(Dice):
    """Decides by chance, and never raises."""

    def tell(self, rows: Rows) -> None:
        self._throw()
        self.take(rows)


def calls(seed: int) -> Iterator[tuple[str, Any]]:
    """A flight of three lines, with rows of all kinds."""
    rng = np.random.default_rng(seed)
    first = 0
    for segment in range(3):
        yield "begin", line(segment=segment, extra_time=0.25)
        for block in range(10):
            n = int(rng.integers(1, 80))
            counts = np.where(rng.random(n) < 0.02, np.nan, rng.poisson(100, n).astype(float))
            yield "tell", rows(
                n, first=first, point=segment * 800 + block * 80 + np.arange(n), counts=counts,
                at=block / 10, i0=rng.uniform(0.3, 1.1, n), signals={"e": rng.normal(size=n)},
                good=rng.random(n) < 0.9,
            )  # fmt: skip
            first += n
            yield "ask", now(position=block / 10, time=first / 500, block=block)
        yield "ask", now(at_end=True, held=bool(rng.random() < 0.5), monitors={"ring": np.nan})
        yield "end", first / 500


async def drive(seat: Seat, seed: int) -> list[Any]:
    """Everything a seat answers."""
    found: list[Any] = []
    await seat.open()
    try:
        for what, given in calls(seed):
            if what == "begin":
                found.append((await seat.begin(given, 0.5)).to_dict())
            elif what == "tell":
                await seat.tell(given, 1.5)
            elif what == "ask":
                decision = await seat.ask(given)
                found.append(None if decision is None else decision.to_dict())
            else:
                found.append(await seat.end(given))
            found.append((seat.fault, [d.to_dict() for d in seat.fresh()]))
            if seat.fault is not None:
                break
    finally:
        await seat.close()
    return json.loads(json.dumps(found))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Calm(3), id="by chance"),
        pytest.param(lambda: Composite([BeamGuard(), PriorSpeed("y", 0.01)]), id="guarded"),
        pytest.param(lambda: Odd("raise"), id="faulty"),
    ],
)
async def test_decisions_are_those_of_a_policy_on_the_spot(make: Any) -> None:
    policy = make()
    local = await drive(LocalSeat(Steering(make(), RAIL), 60.0), 1)
    apart = await drive(WorkerSeat(policy.to_dict(), RAIL, 60.0), 1)
    assert repr(apart) == repr(local), "NaN is not equal to itself"
    assert any("kind" in repr(one) for one in apart) != isinstance(policy, Odd)


def test_rows_arrive_to_the_last_bit() -> None:
    given = next(value for what, value in calls(2) if what == "tell")
    again = rows_from_dict(json.loads(json.dumps(rows_to_dict(given))))
    for name in ("first", "point", "start", "stop", "time", "live", "i0", "passes", "good"):
        assert np.array_equal(getattr(again, name), getattr(given, name)), name
    assert again.passes is given.passes is None
    assert again.counts["y"].tobytes() == given.counts["y"].tobytes()
    assert again.signals["e"].dtype == given.signals["e"].dtype


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("sleep", "a call was not answered within 0.5 s"),
        ("exit", "its process ended with code 3"),
        ("raise", "ZeroDivisionError: no counts"),
    ],
)
async def test_a_policy_that_stalls_or_dies_is_switched_off_and_rows_come_in_meanwhile(
    what: str, fault: str
) -> None:
    flight = SteeredFlight(Odd(what), worker=True, patience=0.5)
    rows_by_then: list[int] = []

    def listen(event: dict[str, Any]) -> None:
        flight.events.append(event)
        if event["event"] == "tuning" and event["row"]["cause"] in ("fault", "late"):
            rows_by_then.append(sum(len(f) for f in flight.sink.frames))  # type: ignore[attr-defined]

    await flight.begin()
    flight.flight._wheel._listener = listen  # type: ignore[union-attr]
    began = time.monotonic()
    await flight.end()
    flight.check_accounts()
    assert time.monotonic() - began < 20
    assert flight.column("point").tolist() == list(range(POINTS * LINES))
    (row,) = [r for r in flight.tuning() if r["cause"] in ("fault", "late")]
    assert fault in row["reason"]
    assert "the flight goes on uniformly" in row["reason"]
    if what == "sleep":
        assert rows_by_then[0] == POINTS, "the whole line came in while it slept"


async def test_nothing_is_left_of_the_process() -> None:
    seat = WorkerSeat(Odd("sleep").to_dict(), RAIL, 0.2)
    await seat.open()
    pid = seat._process.pid  # type: ignore[union-attr]
    await seat.begin(line(), 0.0)
    assert await seat.ask(now()) is None
    assert not seat.answered
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (await seat.begin(line(), 0.0)).profile is None
    await seat.close()
    await seat.close()


async def test_a_cancelled_call_does_not_answer_the_next_one() -> None:
    seat = WorkerSeat(Dice(1).to_dict(), RAIL, 60.0)
    await seat.open()
    try:
        cancelled = asyncio.ensure_future(seat.begin(line(), 0.0))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        await seat.begin(line(segment=1), 0.0)
        assert [d.segment for d in seat.fresh()][-1] == 1
    finally:
        await seat.close()


def test_it_ends_with_its_parent_even_when_busy() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "flyscan.adaptive._worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    rail = {"low": -1.0, "high": 2.0}
    for number, call in enumerate(
        [
            {"policy": Odd("sleep").to_dict(), "rail": rail},
            {"call": "begin", "line": line().to_dict(), "time": 0.0},
            {"call": "ask", "now": now().to_dict()},
        ]
    ):
        child.stdin.write(json.dumps({"id": number, **call}).encode() + b"\n")
        child.stdin.flush()
        if number < 2:
            assert json.loads(child.stdout.readline())["id"] == number
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(10) == 0
    child.stdout.close()


async def test_a_policy_that_cannot_be_made_there_is_refused_before_anything_moves() -> None:
    class Local(Odd):
        """Not to be found in a module."""

    flight = SteeredFlight(Local(), worker=True)
    with pytest.raises(WatchdogError, match=r"did not start: .*Remedy: .*without worker"):
        await flight.begin()
    assert flight.flight.state is State.FAILED
    assert flight.clock.now() < 1.0
