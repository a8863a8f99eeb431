"""Devices are tested in the same rehearsals as plans."""

from tests.plans.conftest import quick, stage

__all__ = ["quick", "stage"]
