"""A Tiled server as a process on loopback, with a catalogue of its own."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tiled.client import from_uri

READY_S = 60.0
END_S = 10.0
RUNNING = re.compile(r"running on .*?(http://127\.0\.0\.1:\d+)")


class TiledServer:
    """Where it is, and where it may read files.

    Args:
        uri: its address.
        key: its API key.
        files: the folder it serves files of.
    """

    def __init__(self, uri: str, key: str, files: Path) -> None:
        self.uri = uri
        self.key = key
        self.files = files

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client with connections of its own."""
        client = from_uri(self.uri, api_key=self.key)
        try:
            yield client
        finally:
            client.context.http_client.close()


@contextmanager
def serve_tiled(folder: Path) -> Iterator[TiledServer]:
    """A server that reads files in `folder`/files, until the end of the block."""
    files, key = folder / "files", secrets.token_hex(16)
    files.mkdir()
    (folder / "write").mkdir()
    command = [sys.executable, "-m", "tiled", "serve", "catalog", "--temp", "--port", "0"]
    storage = ["-r", files, "-w", folder / "write", "-w", f"sqlite:///{folder}/tables.db"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*command, "--api-key", key, *storage], **pipes, text=True) as process:
        assert process.stdout is not None
        log = Log(process.stdout)
        try:
            yield TiledServer(log.address(), key, files)
        finally:
            process.terminate()
            process.wait(END_S)
            log.join(END_S)


class Log(threading.Thread):
    """Reads what the server says to its end, so that it never blocks."""

    def __init__(self, output: IO[str]) -> None:
        super().__init__()
        self._output = output
        self._lines: list[str] = []
        self._address = ""
        self._settled = threading.Event()
        self.start()

    def run(self) -> None:
        for line in self._output:
            self._lines.append(line)
            if found := RUNNING.search(line):
                self._address = found[1]
                self._settled.set()
        self._settled.set()

    def address(self) -> str:
        """Where the server listens, once it does."""
        self._settled.wait(READY_S)
        assert self._address, f"the Tiled server did not start:\n{''.join(self._lines)}"
        return self._address
