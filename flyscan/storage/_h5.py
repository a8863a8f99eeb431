"""h5py behind one door: it ships no types, so the rest of the package sees it as `Any`."""

from __future__ import annotations

from typing import Any, Final

import h5py as _h5py  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["FORMAT", "h5py"]

h5py: Final[Any] = _h5py

FORMAT: Final = ("v110", "v110")
"""Oldest file format with SWMR; newer ones bring nothing here and shut out older readers."""
