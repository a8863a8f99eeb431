"""The package's public names: complete, and loaded no earlier than needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flyscan import controllers


def test_every_public_name_is_there() -> None:
    for name in controllers.__all__:
        assert getattr(controllers, name).__name__ == name
    assert dir(controllers) == sorted(controllers.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'flyscan\.controllers' has no attribute 'Nothing'"):
        _ = controllers.Nothing  # type: ignore[attr-defined]


def test_a_binding_loads_only_its_own_protocol() -> None:
    code = (
        "import sys\n"
        "from flyscan.controllers import EpicsMotion, Motion\n"
        "libraries = ('aioca', 'pandablocks', 'flyscan.controllers.gcs', 'bluesky')\n"
        "print([name for name in libraries if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
