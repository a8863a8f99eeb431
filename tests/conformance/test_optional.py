"""flyscan.testing can be had without pytest; only the suites need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules[{missing!r}] = None
import flyscan.testing
flyscan.testing.MemoryBox()
try:
    flyscan.testing.MotionSuite
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("missing", ["pytest", "pytest_asyncio"])
def test_the_rest_needs_no_pytest(missing: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(missing=missing)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == (
        f"the conformance suites of flyscan.testing need {missing}. "
        "Remedy: pip install 'flyscan[test]'"
    )
