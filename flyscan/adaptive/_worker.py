"""The process a policy has of its own: calls come in by line, answers go out by line.

``python -m flyscan.adaptive._worker`` reads JSON from standard input and answers on standard
output; it ends when its input ends, whatever the policy is busy with then.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from ._composite import policy_from_dict
from ._policy import LineContext, Situation
from ._rails import GuardRail
from ._steering import Steering
from ._wire import rows_from_dict

__all__ = ["answer", "main"]


def answer(steering: Steering, call: Mapping[str, Any]) -> Any:
    """Make one call; what it returned, JSON-able."""
    match call["call"]:
        case "begin":
            return steering.begin(LineContext.from_dict(call["line"]), call["time"]).to_dict()
        case "tell":
            return steering.tell(rows_from_dict(call["rows"]), call["time"])
        case "ask":
            decision = steering.ask(Situation.from_dict(call["now"]))
            return None if decision is None else decision.number
        case _:
            return steering.end()


def main() -> None:
    """Serve the policy named in the first line."""
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a policy prints must not be taken for an answer
    calls: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, calls.put), daemon=True).start()
    first = json.loads(calls.get())
    steering = Steering(policy_from_dict(first["policy"]), GuardRail(**first["rail"]))
    _send(output, {"id": first["id"]})
    shown = 0
    while True:
        call = json.loads(calls.get())
        result = answer(steering, call)
        fresh = [decision.to_dict() for decision in steering.decisions[shown:]]
        shown += len(fresh)
        reply = {"id": call["id"], "answer": result, "decisions": fresh, "fault": steering.fault}
        _send(output, reply)


def _listen(source: IO[str], heard: Callable[[str], None]) -> None:
    for line in source:
        heard(line)
    os._exit(0)  # nobody is left to answer, and the policy may be busy for ever


def _send(output: IO[str], reply: Mapping[str, Any]) -> None:
    output.write(json.dumps(reply) + "\n")
    output.flush()


if __name__ == "__main__":
    main()
