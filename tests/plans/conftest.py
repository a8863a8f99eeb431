"""What the tests of plans share: short waits, and what an undisturbed flight looks like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flyscan.plans import _stubs
from tests.plans.rehearsal import Rehearsal, rehearsal


@pytest.fixture(autouse=True, scope="session")
def quick() -> Iterator[None]:
    """Plans look ten times as often: simulated flights last milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_stubs, "TICK", 0.001)
        patch.setattr(_stubs, "COLLECT_PERIOD", 0.002)
        yield


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Rehearsal]:
    with rehearsal(tmp_path) as stage:
        yield stage
