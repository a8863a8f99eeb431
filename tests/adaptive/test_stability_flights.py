"""Rows taken while the stage was not where it should have been, in steered flights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import h5py
import numpy as np
import pytest

import flyscan
from flyscan.adaptive import Composite, StabilityGuard, replay_file
from flyscan.flight import FloatArray, Trigger
from flyscan.storage import Hdf5Sink, check_file
from tests.adaptive.steered import LINES, PERIOD, POINTS, SteeredFlight

RATE = 1e4


def counts(at: Mapping[str, FloatArray], _: FloatArray) -> FloatArray:
    return RATE * (2 + at["x"]) * PERIOD


def shaken(begin: float, end: float) -> Any:
    """The position error: large for a while, and then the counts are wrong as well."""

    def away(seconds: FloatArray) -> Any:
        return (seconds >= begin) & (seconds < end)

    return {
        "error": lambda _, seconds: np.where(away(seconds), 0.5, 0.01),
        "Fe": lambda at, seconds: np.where(away(seconds), 0.0, counts(at, seconds)),
    }


def stuck(low: float, high: float) -> Any:
    """The position error is large wherever the stage is between two positions."""
    return {
        "error": lambda at, _: np.where((at["x"] > low) & (at["x"] < high), 0.5, 0.01),
        "Fe": counts,
    }


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_what_shook_is_taken_again_and_used_no_more(trigger: Trigger) -> None:
    flight = SteeredFlight(StabilityGuard("error", 0.1), trigger, signals=shaken(0.165, 0.195))
    await flight.fly()
    flight.check_accounts()
    bad = np.flatnonzero(flight.column("error") > 0.1)
    assert 2 <= len(bad) <= 4
    assert flight.sink.flagged == set(bad.tolist())  # type: ignore[attr-defined]
    again = flight.column("passes") == 1
    assert again.any()
    (back,) = [r for r in flight.tuning() if (r["applied"] or {}).get("kind") == "go_back"]
    low, high = sorted((back["applied"]["start"], back["applied"]["stop"]))
    ends = np.sort(np.concatenate((flight.column("start")[again], flight.column("stop")[again])))
    assert (ends[0], ends[-1]) == (pytest.approx(low, abs=0.26), pytest.approx(high, abs=0.26))
    assert len(flight.column("point")) == POINTS * LINES + again.sum(), "only these"


async def test_what_never_holds_still_is_given_up_after_three_tries() -> None:
    flight = SteeredFlight(StabilityGuard("error", 0.1), signals=stuck(4.1, 5.9))
    await flight.fly()
    flight.check_accounts()
    backs = [r for r in flight.tuning() if (r["applied"] or {}).get("kind") == "go_back"]
    per_line = np.bincount([r["segment"] for r in backs], minlength=LINES)
    assert per_line.tolist() == [3] * LINES
    speeds = [r["applied"]["profile"]["velocity"][0] for r in backs[:3]]
    assert speeds == pytest.approx([25.0, 12.5, 6.25])
    summaries = [r["summary"] for r in flight.records("ended")]
    assert all(len(s["flagged"]) >= 1 and s["retaken"] == 3 for s in summaries)
    bad = np.flatnonzero(flight.column("error") > 0.1)
    assert flight.sink.flagged == set(bad.tolist())  # type: ignore[attr-defined]


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_the_file_has_them_flagged_and_the_map_does_without(
    tmp_path: FilePath, trigger: Trigger
) -> None:
    guard = Composite([StabilityGuard("error", 0.1)])
    flight = SteeredFlight(guard, trigger, signals=shaken(0.165, 0.195), sink=Hdf5Sink())
    await flight.fly(str(tmp_path))
    name = tmp_path / "run.h5"
    assert (report := check_file(name)).ok, str(report)
    (again,) = replay_file(name)
    assert again.difference is None
    with h5py.File(name) as file:
        found: dict[str, Any] = {}
        file.visititems(lambda path, one: found.update({path.rpartition("/")[2]: one}))
        error, keep, used = (np.asarray(found[n]) for n in ("error", "keep", "used"))
    assert ((used == 0) == (error > 0.1)).all()
    assert keep.all(), "they stand for their points nevertheless"
    value = flyscan.regrid(name, "Fe", POINTS).value
    middle = (np.arange(POINTS) + 0.5) * 10.0 / POINTS
    seen = np.isfinite(value)
    assert seen.all()
    assert value[:, 1:-1] == pytest.approx(
        np.broadcast_to(RATE * (2 + middle), value.shape)[:, 1:-1], rel=0.02
    )


async def test_an_axis_that_should_rest_is_watched_by_its_encoder() -> None:
    flight = SteeredFlight(StabilityGuard("y", 0.1), signals={"Fe": counts})
    await flight.fly()
    assert [r for r in flight.tuning() if r["cause"] != "plan"] == []
    contexts = [r["line"]["rests"] for r in flight.records("began")]
    assert contexts == [{"y": 0.0}, {"y": 1.0}, {"y": 2.0}]
