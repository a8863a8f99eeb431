"""A Tiled server as a process on loopback, with a catalogue of its own."""

from __future__ import annotations

import re
import secrets
import selectors
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
        said: list[str] = []
        reader = threading.Thread(target=said.extend, args=(process.stdout,))
        try:
            uri = _address(process.stdout)
            reader.start()
            yield TiledServer(uri, key, files)
        finally:
            process.terminate()
            process.wait(END_S)
            if reader.ident is not None:
                reader.join(END_S)


def _address(output: IO[str]) -> str:
    said = ""
    with selectors.DefaultSelector() as ready:
        ready.register(output, selectors.EVENT_READ)
        while ready.select(READY_S):
            line = output.readline()
            said += line
            if found := RUNNING.search(line):
                return found[1]
            if not line:
                break
    raise AssertionError(f"the Tiled server did not start:\n{said}")
