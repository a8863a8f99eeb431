"""A policy in a process of its own, so that computing for long keeps nobody from their work."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..errors import WatchdogError
from ._policy import LineContext, Plan, Situation
from ._rails import GuardRail
from ._rows import Rows
from ._seat import Seat
from ._steering import Decision, DecisionBook
from ._wire import rows_to_dict

__all__ = ["WorkerSeat"]

STARTING = 30.0
"""Seconds the process may take to start and to import what the policy needs."""

LONGEST_ANSWER = 1 << 26
"""Bytes: a plan of a million nodes is shorter."""


class _LostError(Exception):
    """There is no answer."""


class WorkerSeat(Seat):
    """Calls the policy in a child process, by lines of JSON over its standard streams.

    A call that is not answered within `patience`, or a process that ends, switches the policy
    off, and the process is killed. It ends with its parent, however that ends.

    Args:
        policy: class and parameters.
        rail: what bounds it.
        patience: seconds of real time a call may take.
    """

    def __init__(self, policy: Mapping[str, Any], rail: GuardRail, patience: float) -> None:
        self._policy = policy
        self._rail = rail
        self._patience = patience
        self._book = DecisionBook()
        self._shown = 0
        self._calls = 0
        self._process: Process | None = None
        self._answered = True

    @property
    def fault(self) -> str | None:
        return self._book.fault

    @property
    def answered(self) -> bool:
        return self._answered

    async def open(self) -> None:
        """Start the process and wait until the policy is there.

        Raises:
            WatchdogError: it did not start.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flyscan.adaptive._worker",
            stdin=PIPE,
            stdout=PIPE,
            limit=LONGEST_ANSWER,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            start_new_session=True,  # Ctrl-C is for the host to understand
        )
        try:
            call = {"policy": self._policy, "rail": asdict(self._rail)}
            await self._exchange(call, STARTING)
        except _LostError as exc:
            await self._kill()
            raise WatchdogError(
                f"the process of the policy did not start: {exc}",
                device="steering",
                remedy="see what it printed on the flight host's error output, or run the policy "
                "without worker",
            ) from exc

    async def begin(self, line: LineContext, time: float) -> Plan:
        call = {"call": "begin", "line": line.to_dict(), "time": time}
        found = await self._call(call, time)
        if not self._answered:
            return Plan(None, f"uniform: policy switched off, {self.fault}")
        self._book.began(line)
        return Plan.from_dict(found)

    async def tell(self, rows: Rows, time: float) -> None:
        await self._call({"call": "tell", "rows": rows_to_dict(rows), "time": time}, time)
        if self._answered:
            self._book.told()

    async def ask(self, now: Situation) -> Decision | None:
        number: int | None = await self._call({"call": "ask", "now": now.to_dict()}, now.time)
        if self.fault is not None or number is None:
            return None
        return self._book.decisions[number]

    async def end(self, time: float) -> dict[str, Any]:
        summary: dict[str, Any] = await self._call({"call": "end"}, time)
        return summary if self._answered else {"fault": self.fault}

    def fresh(self) -> list[Decision]:
        found = self._book.decisions[self._shown :]
        self._shown += len(found)
        return found

    def switch_off(self, fault: str, time: float) -> None:
        self._book.switch_off(fault, time, cause="late")

    async def close(self) -> None:
        await self._kill()

    async def _call(self, call: Mapping[str, Any], time: float) -> Any:
        """What the policy answers; None, and it is switched off, if it does not."""
        try:
            if self.fault is not None:
                raise _LostError(self.fault)
            reply = await self._exchange(call, self._patience)
        except _LostError as exc:
            self._answered = False
            if self.fault is None:
                self.switch_off(str(exc), time)
            await self._kill()
            return None
        self._answered = True
        return reply["answer"]

    async def _exchange(self, call: Mapping[str, Any], patience: float) -> Mapping[str, Any]:
        """Send a call; the answer to it.

        Raises:
            _LostError: there is none in time.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise _LostError("its process was not started")
        self._calls += 1
        number = self._calls
        try:
            async with asyncio.timeout(patience):
                process.stdin.write(json.dumps({"id": number, **call}).encode() + b"\n")
                await process.stdin.drain()
                while True:
                    line = await process.stdout.readline()
                    if not line.endswith(b"\n"):
                        raise _LostError(f"its process ended with code {await process.wait()}")
                    reply = json.loads(line)
                    self._adopt(reply)
                    if reply["id"] == number:  # an earlier call may have been cancelled
                        return reply
        except TimeoutError as exc:
            raise _LostError(f"a call was not answered within {patience:g} s") from exc
        except OSError as exc:
            raise _LostError(f"its process ended: {exc}") from exc

    def _adopt(self, reply: Mapping[str, Any]) -> None:
        self._book.decisions += [Decision.from_dict(d) for d in reply.get("decisions", ())]
        self._book.fault = self._book.fault or reply.get("fault")

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):  # it has ended by itself
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
