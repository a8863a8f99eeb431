"""Consumers of documents, started once for all tests that need them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.consumers.session import Session
from tests.consumers.tiled_server import TiledServer, serve_tiled


@pytest.fixture(scope="session")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledServer]:
    """A Tiled server that may read what `session` writes."""
    with serve_tiled(tmp_path_factory.mktemp("tiled")) as server:
        yield server


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A RunEngine with the flyer `nano` on a box in memory."""
    with Session(tmp_path) as session:
        yield session


@pytest.fixture
def served(tiled: TiledServer) -> Iterator[Session]:
    """The same, its files where the Tiled server may read them."""
    with Session(tiled.files) as session:
        yield session
