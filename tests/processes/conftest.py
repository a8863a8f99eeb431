"""Fixtures of the tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes.hardware import Hardware


@pytest.fixture(scope="module")
def simulator() -> Iterator[Hardware]:
    with Hardware() as hardware:
        yield hardware


@pytest.fixture
def hardware(simulator: Hardware) -> Iterator[Hardware]:
    """The nanoprobe; whatever a test does, it ends at rest and as it was found."""
    yield simulator
    simulator.comes_to_rest(within=1)
    assert simulator.changed() == {}
