"""bluesky-queueserver's manager as a process, on a Redis server that lives in this one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq
from fakeredis import TcpFakeServer

STARTUP = Path(__file__).with_name("queue_startup")
PERMISSIONS = """
user_groups:
  root: {allowed_plans: [null], allowed_devices: [null]}
  primary: {allowed_plans: [":fly"], allowed_devices: [":?.*:depth=5"]}
"""
LOG = "manager.log"
WAIT_S = 30.0
POLL_S = 0.05


class Queue:
    """The manager as its clients see it.

    Args:
        address: of its control socket.
        folder: where runs leave files and documents.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVTIMEO, int(1000 * WAIT_S))
        self._socket.connect(address)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of its API, which must succeed; the first call waits for the manager."""
        self._socket.send_json({"method": method, "params": params})
        answer: Any = self._socket.recv_json()
        assert answer.get("success", True), answer
        return answer

    def add(self, plan: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Put a plan at the end of the queue; the queue's item."""
        item = {"item_type": "plan", "name": plan, "args": list(args), "kwargs": kwargs}
        answer = self.ask("queue_item_add", item=item, user="me", user_group="primary")
        return answer["item"]

    def until(self, **wanted: Any) -> None:
        """Wait for a state."""

        def reached() -> bool:
            status = self.ask("status")
            return all(status[key] == value for key, value in wanted.items())

        poll(reached, str(wanted))

    def until_described(self, frames: int) -> None:
        """Wait until the documents of the running plan describe that many frames."""

        def reached() -> bool:
            active = self.ask("re_runs", option="open")["run_list"]
            documents = self.documents(active[0]["uid"]) if active else []
            ends = [d["indices"]["stop"] for n, d in documents if n == "stream_datum"]
            return max(ends, default=0) >= frames

        poll(reached, f"{frames} frames")

    def documents(self, uid: str) -> list[tuple[str, dict[str, Any]]]:
        """What a run has documented so far, whole lines only."""
        lines = self.path(uid).read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return [(entry["name"], entry["doc"]) for entry in entries]

    def path(self, uid: str) -> Path:
        """Where a run's documents are."""
        return self.folder / f"{uid}.jsonl"

    def last_result(self) -> dict[str, Any]:
        """What became of the plan that ended last."""
        return self.ask("history_get")["items"][-1]["result"]

    def log(self) -> str:
        """What the manager and its worker said."""
        return (self.folder / LOG).read_text()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._context.term()


def poll(reached: Callable[[], bool], what: str) -> None:
    """Wait for something that nobody announces."""
    end = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < end, f"{what} did not come within {WAIT_S:g} s"
        time.sleep(POLL_S)


@contextmanager
def serve_redis() -> Iterator[str]:
    """A Redis server in a thread; its address."""
    server = TcpFakeServer(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield "{}:{}".format(*server.server_address)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serve_queue(folder: Path) -> Iterator[Queue]:
    """A manager whose worker's environment is open."""
    permissions = folder / "permissions.yaml"
    permissions.write_text(PERMISSIONS)
    control, info = free_address(), free_address()
    options = {
        "startup-dir": STARTUP,
        "existing-plans-devices": folder / "plans_and_devices.yaml",
        "update-existing-plans-devices": "ENVIRONMENT_OPEN",
        "user-group-permissions": permissions,
        "zmq-control-addr": control,
        "zmq-info-addr": info,
    }
    with serve_redis() as redis, (folder / LOG).open("w") as log:
        command = [Path(sys.executable).with_name("start-re-manager"), "--keep-re"]
        settings = [f"--{name}={value}" for name, value in options.items()]
        environment = os.environ | {"FLYSCAN_QUEUE_FOLDER": str(folder)}
        with subprocess.Popen(
            [*command, *settings, f"--redis-addr={redis}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        ) as process:
            queue = Queue(control, folder)
            try:
                yield queue
                queue.ask("manager_stop", option="safe_off")
                process.wait(WAIT_S)
            finally:
                queue.close()
                with suppress(ProcessLookupError):  # the manager forks, and all are gone
                    os.killpg(process.pid, signal.SIGKILL)


def free_address() -> str:
    """A TCP address nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "tcp://{}:{}".format(*probe.getsockname())
