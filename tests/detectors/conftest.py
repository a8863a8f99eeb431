"""The worker that flies detectors, one for all tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).with_name("worker.py")

Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Order]:
    """Have the worker `do` something with these options; returns what became of it."""
    folder = tmp_path_factory.mktemp("flights")
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None

        def answer() -> Any:
            line = back.readline()
            if not line:
                errors.seek(0)
                pytest.fail(f"the worker has died:\n{errors.read()[-4000:]}")
            return json.loads(line)

        def order(**options: Any) -> dict[str, Any]:
            to.write(json.dumps(options) + "\n")
            to.flush()
            return answer()

        try:
            assert answer() == "ready"
            yield order
        finally:
            process.kill()


@pytest.fixture
def fly(session: Order) -> Order:
    """Fly with these options of ``Worker.fly``."""
    return lambda **options: session(do="fly", **options)
