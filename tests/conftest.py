"""What every test gets: a state folder of its own, and nobody left behind at the end."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same commit gives the same result; FLYSCAN_EXPLORE=1 looks for examples nobody has seen yet.
settings.register_profile("same", derandomize=True)
if "FLYSCAN_EXPLORE" not in os.environ:
    settings.load_profile("same")

MARK = "FLYSCAN_TEST_SESSION"
OURS = ("flyscan", "tests.")
"""In the command lines of hosts, simulators, commands and clients."""
LINGER_S = 15.0
"""A host that ends because its client did needs some seconds."""


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing touches the user's own notes and journal, not even from module-wide fixtures."""
    before = os.environ.get("XDG_STATE_HOME")
    base = tmp_path_factory.mktemp("state-home")
    os.environ["XDG_STATE_HOME"] = str(base)
    yield base
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """Names for folders."""
    return itertools.count()


@pytest.fixture(autouse=True)
def state_folder(state_home: Path, numbers: Iterator[int]) -> Iterator[Path]:
    """``XDG_STATE_HOME`` of one test; made by whoever needs it."""
    folder = state_home / str(next(numbers))
    os.environ["XDG_STATE_HOME"] = str(folder)
    yield folder
    os.environ["XDG_STATE_HOME"] = str(state_home)


@pytest.fixture(scope="session", autouse=True)
def nobody_left_behind() -> Iterator[None]:
    """Every process that the tests start carries a mark; none of ours may outlive them."""
    os.environ[MARK] = mark = uuid.uuid4().hex
    yield
    del os.environ[MARK]
    deadline = time.monotonic() + LINGER_S
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"still running: {left}"


def marked(mark: str) -> dict[int, str]:
    """Processes of ours in this session, and their command lines; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended meanwhile, or belongs to somebody else
            continue
        other = int(folder.name) != os.getpid() and any(word in command for word in OURS)
        if other and wanted in environment.split(b"\0"):
            found[int(folder.name)] = command.strip()
    return found
