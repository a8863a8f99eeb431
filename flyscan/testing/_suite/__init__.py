"""The conformance suites; importing them needs pytest and pytest-asyncio."""

import importlib

try:
    import pytest

    importlib.import_module("pytest_asyncio")
except ImportError as error:
    raise ImportError(
        f"the conformance suites of flyscan.testing need {error.name}. "
        "Remedy: pip install 'flyscan[test]'"
    ) from error

_PARTS = (
    "capture_accounts",
    "capture_ahead",
    "capture_base",
    "capture_basics",
    "capture_ends",
    "capture_holds",
    "capture_losses",
    "capture_steps",
    "flying",
    "motion_base",
    "motion_basics",
    "motion_holds",
    "motion_settings",
    "motion_stops",
    "motion_sweeps",
)

# Failures of somebody else's binding must show values, as those of tests do.
pytest.register_assert_rewrite(*(f"{__name__}._{part}" for part in _PARTS))

from ._capture_suite import CaptureSuite  # noqa: E402
from ._motion_suite import MotionSuite  # noqa: E402

__all__ = ["CaptureSuite", "MotionSuite"]
