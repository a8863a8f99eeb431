"""What a call of each policy costs on the flight host's loop, in processor time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from flyscan.adaptive import (
    Budget,
    Composite,
    CurvatureSpeed,
    LineContext,
    Parametric,
    Plan,
    Policy,
    PriorSpeed,
    Proposal,
    Rows,
    SimulatedLine,
    Situation,
    Steering,
    TwoPass,
)
from flyscan.flight import FloatArray

from ._lines import context
from ._noise_free import RAIL
from ._signals import SIGNALS

__all__ = ["policy_costs"]

T = TypeVar("T")
ROWS = 1000
BLOCK = 50
LINES = 5
PEAK = 1e4

SIGNAL = SIGNALS["S1"]

POLICIES: dict[str, Callable[[], Policy]] = {
    "PriorSpeed": lambda: PriorSpeed("y", SIGNAL.width),
    "CurvatureSpeed": lambda: CurvatureSpeed("y", SIGNAL.width, target_error=3e5),
    "TwoPass": lambda: TwoPass("y", SIGNAL.width),
    "Parametric": lambda: Parametric("y", "peak"),
    "Budget + PriorSpeed": lambda: Composite(
        [Budget(total_dose=1e9), PriorSpeed("y", SIGNAL.width)]
    ),
}


class Timed(Policy):
    """Passes every call on, and notes what it cost.

    Args:
        inner: the policy.
    """

    def __init__(self, inner: Policy) -> None:
        self._inner = inner
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def _timed(self, name: str, call: Callable[[], T]) -> T:
        began = time.process_time()
        answer = call()
        self.seconds[name].append(time.process_time() - began)
        return answer

    def begin(self, line: LineContext) -> Plan:
        return self._timed("begin", lambda: self._inner.begin(line))

    def tell(self, rows: Rows) -> None:
        self._timed("tell", lambda: self._inner.tell(rows))

    def ask(self, now: Situation) -> Proposal | None:
        return self._timed("end" if now.at_end else "ask", lambda: self._inner.ask(now))


def policy_costs() -> dict[str, dict[str, float]]:
    """Policy to call to milliseconds: the dearest begin and end, the 99th percentile of others."""
    return {name: _costs(make()) for name, make in POLICIES.items()}


def _costs(policy: Policy) -> dict[str, float]:
    timed = Timed(policy)
    steering, first = Steering(timed, RAIL), 0
    share = BLOCK / ROWS
    for number in range(LINES):
        line = context(ROWS, segment=number, block_period=share, latency=share, extra_time=0.25)
        at = np.array([0.4 + 0.003 * number])

        def integral(x: FloatArray, at: FloatArray = at) -> FloatArray:
            return PEAK * ROWS * SIGNAL.integral(x[None], at)[0]

        rng = np.random.default_rng((951, number))
        first += len(SimulatedLine(line, {"y": integral}, rng, first).fly(steering).rows)
    if steering.fault is not None:
        raise RuntimeError(f"the policy was switched off: {steering.fault}")
    return {
        name: 1e3 * float(np.max(spent) if name in ("begin", "end") else np.percentile(spent, 99))
        for name, spent in timed.seconds.items()
    }
