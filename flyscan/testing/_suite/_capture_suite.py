"""The conformance suite of captures."""

from __future__ import annotations

from ._capture_accounts import CaptureAccounts
from ._capture_ahead import CaptureAhead
from ._capture_basics import CaptureBasics
from ._capture_ends import CaptureEnds
from ._capture_holds import CaptureHolds
from ._capture_losses import CaptureLosses
from ._capture_steps import CaptureSteps

__all__ = ["CaptureSuite"]


class CaptureSuite(
    CaptureBasics,
    CaptureAccounts,
    CaptureHolds,
    CaptureAhead,
    CaptureSteps,
    CaptureLosses,
    CaptureEnds,
):
    """What every :class:`~flyscan.flight.Capture` must do; subclass it in a test module.

    It is used like :class:`MotionSuite`, with a :class:`CaptureBench` from `make_bench`, whose
    `motion` moves the stage that the box watches. Every test gets a bench of its own. It needs
    pytest and pytest-asyncio.
    """
