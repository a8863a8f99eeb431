"""Runs' files as even maps: where frames were, what counts, which line they belong to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from scanspec.specs import Fly, Linspace, Spiral

import flyscan
from flyscan.errors import ConfigurationError, StorageError
from flyscan.flight import Block, Channel, Frames, Path, RowFacts, RunFile, Trigger
from flyscan.storage import Hdf5Sink

PERIOD = 0.01
SNAKE = Path.from_spec(
    Fly(Linspace("y", 0.0, 2.0, 3) * ~Linspace("x", 0.25, 9.75, 20)), period=PERIOD
)
X = Channel("x", unit="um", source="sim://x", axis="x")
EXTENT = (Channel("x_min", source="sim://min"), Channel("x_max", source="sim://max"))
FE = Channel("Fe", "<i4", source="sim://Fe")


def truth(x: Any, y: Any) -> Any:
    """Counts per second."""
    return 1e6 * (2 + x + y)


def centres(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Segment, and set-points x and y of every point."""
    at = path.setpoints(0, path.points)
    segment = np.array([path.segment_of(p) for p in range(path.points)])
    return segment, at["x"], at["y"]


def ends(path: Path, duty: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the live time of every frame begins and ends: at its trigger, and on the way."""
    segment, x, _ = centres(path)
    step = np.where(segment % 2, -0.5, 0.5)
    return x - step / 2, x - step / 2 + duty * step


async def write(
    directory: FilePath,
    *,
    channels: tuple[Channel, ...] = (X, FE),
    path: Path = SNAKE,
    duty: float = 0.8,
    tuned: bool = False,
    flux: Callable[[int], np.ndarray] = np.ones,
    records: tuple[dict[str, Any], ...] = (),
    change: dict[str, Any] | None = None,
    more: tuple[Frames, ...] = (),
    flag: tuple[int, ...] = (),
) -> FilePath:
    """A flight with exact counts over a plane."""
    sink = Hdf5Sink()
    axes = {"x": "um", "y": "um"}
    await sink.open(RunFile(str(directory), "run", channels, axes, {}, 0, tuned=tuned))
    await sink.begin_flight(0, path.to_dict())
    for record in records:
        await sink.add_tuning(record)
    n = path.points
    segment, x, y = centres(path)
    begin, end = ends(path, duty)
    mean = (begin + end) / 2
    values = {
        "x": mean,
        "Fe": np.round(truth(mean, y) * duty * PERIOD),
        "x_min": np.minimum(begin, end),
        "x_max": np.maximum(begin, end),
    } | (change or {})
    block = Block(
        0,
        np.arange(n) * 10**7,
        np.full(n, duty * PERIOD),
        {c.name: values[c.name].astype(c.dtype) for c in channels},
    )
    setpoints = {"y": y} if X in channels else {"x": x, "y": y}
    facts = None
    if tuned:
        facts = RowFacts(begin, end, np.full(n, PERIOD), flux(n), np.zeros(n, np.int64))
    await sink.append(Frames(0, 0, np.arange(n), segment, block, setpoints, facts))
    for frames in more:
        await sink.append(frames)
    if flag:
        await sink.flag(np.array(flag))
    await sink.close()
    return directory / "run.h5"


def assert_true(found: Any, lines: slice = slice(None)) -> None:
    middle = (found.edges[1:] + found.edges[:-1]) / 2
    for y, value in zip(found.others["y"][lines], found.value[lines], strict=True):
        assert value[1:-1] == pytest.approx(truth(middle, y)[1:-1], rel=1e-3)


@pytest.mark.parametrize("channels", [(X, FE), (X, *EXTENT, FE), (FE,)], ids=["x", "min", "plan"])
@pytest.mark.parametrize("pixels", [20, 7, 33])
async def test_plain_flights_become_maps(
    tmp_path: FilePath, channels: tuple[Channel, ...], pixels: int
) -> None:
    name = await write(tmp_path, channels=channels)
    found = flyscan.regrid(name, "Fe", pixels)
    assert (found.axis, found.value.shape) == ("x", (3, pixels))
    assert found.others["y"].tolist() == [0, 1, 2]
    assert found.edges[[0, -1]] == pytest.approx([0, 10])
    assert_true(found)
    assert found.exposure.sum() == pytest.approx(60 * 0.8 * PERIOD)
    assert found.dose.sum() == pytest.approx(60 * PERIOD)
    counts = found.value * found.exposure
    assert found.error == pytest.approx(np.sqrt(counts) / found.exposure, rel=0.6)
    assert not found.left_out.any()


async def test_edges_may_be_given(tmp_path: FilePath) -> None:
    found = flyscan.regrid(await write(tmp_path), "Fe", [2.0, 3.0, 5.0])
    assert found.value[1] == pytest.approx(truth(np.array([2.5, 4.0]), 1.0), rel=1e-3)
    with pytest.raises(ConfigurationError, match="must ascend"):
        flyscan.regrid(tmp_path / "run.h5", "Fe", [3.0, 2.0])


async def test_flux_and_dead_time_are_corrected(tmp_path: FilePath) -> None:
    _, _, y = centres(SNAKE)
    live, tau = 0.8 * PERIOD, 2e-8
    arrived = truth(sum(ends(SNAKE, 0.8)) / 2, y) * blinking(60) * live
    counted = arrived / (1 + arrived * tau / live)
    channels = (X, Channel("Fe", source="sim://Fe"), Channel("Fe_corrected", source="sim://c"))
    change = {"Fe": counted, "Fe_corrected": arrived}
    steered: Any = {"tuned": True, "flux": blinking, "change": change}
    name = await write(tmp_path, channels=channels, **steered)
    found = flyscan.regrid(name, "Fe", 20)
    assert_true(found)
    assert found.exposure[0, 5] == pytest.approx(blinking(60)[5] * live)
    (tmp_path / "raw").mkdir()
    raw = flyscan.regrid(await write(tmp_path / "raw", **steered), "Fe", 20)
    assert raw.value[0, 5] < 0.99 * found.value[0, 5]
    assert raw.error[0, 5] < 0.99 * found.error[0, 5]


def blinking(n: int) -> np.ndarray:
    """Flux relative to nominal."""
    return np.where(np.arange(n) % 2, 1.0, 0.5)


async def test_flagged_frames_count_for_dose_only(tmp_path: FilePath) -> None:
    name = await write(tmp_path, tuned=True, change={"Fe": flat_but(25)}, flag=(25,))
    found = flyscan.regrid(name, "Fe", 20)
    hole = 19 - 5  # the second line is flown backwards
    assert np.flatnonzero(np.isnan(found.value[1])).tolist() == [hole]
    assert found.dose[1, hole] > 0
    assert found.left_out.tolist() == [0, 0, 0]


def flat_but(frame: int) -> np.ndarray:
    values = np.full(60, 800.0)
    values[frame] = 0
    return values


async def test_frames_without_sense_are_left_out_and_counted(tmp_path: FilePath) -> None:
    channels = (X, Channel("Fe", source="sim://Fe"))
    values = np.full(60, 800.0)
    values[[3, 41]] = np.nan, -1.0
    found = flyscan.regrid(
        await write(tmp_path, channels=channels, change={"Fe": values}), "Fe", 20
    )
    assert found.left_out.tolist() == [1, 0, 1]
    assert np.isnan(found.value).sum() == 2


async def test_ways_back_belong_to_their_line(tmp_path: FilePath) -> None:
    """A slow pass over 2 to 4 of line 1 finds more than the fast one had seen."""
    n, live = 40, 0.8 * PERIOD
    edges = np.linspace(4.0, 2.0, n + 1)
    facts = RowFacts(edges[:-1], edges[1:], np.full(n, live), np.ones(n), np.ones(n, np.int64))
    x = (edges[:-1] + edges[1:]) / 2
    counts = np.full(n, 5e6 * live).astype("<i4")
    block = Block(0, 10**10 + np.arange(n) * 10**7, np.full(n, live), {"x": x, "Fe": counts})
    back = Frames(60, 0, 60 + np.arange(n), np.full(n, 3), block, {"y": np.ones(n)}, facts)
    segment = {"event": "segment", "index": 3, "first_point": 60, "points": n, "line": 1, "pass": 1}
    started = {"event": "started", "flight": 0}
    name = await write(
        tmp_path, tuned=True, records=(started, segment | {"flight": 0}), more=(back,)
    )
    found = flyscan.regrid(name, "Fe", 20)
    assert found.value[1, 4:8] == pytest.approx(5e6)
    assert_true(found, slice(0, 3, 2))
    assert found.value[1, 9] == pytest.approx(truth(4.75, 1.0), rel=1e-3)
    assert found.dose[1, 5] > found.dose[0, 5]


async def test_a_stopped_flight_leaves_lines_empty(tmp_path: FilePath) -> None:
    path = SNAKE.to_dict()
    sink = Hdf5Sink()
    await sink.open(RunFile(str(tmp_path), "run", (X, FE), {"x": "um", "y": "um"}, {}, 0))
    await sink.begin_flight(0, path)
    assert np.isnan(flyscan.regrid(tmp_path / "run.h5", "Fe", 5).value).all()
    await sink.close()


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (("Cu", 5), {}, r"no channel 'Cu' with a number per frame.*use one of Fe, x"),
        (("Fe", 5), {"flight": 3}, "there is no flight 3.*its flights are 0"),
    ],
)
async def test_what_is_not_there_is_named(
    tmp_path: FilePath, arguments: Any, options: Any, text: str
) -> None:
    name = await write(tmp_path)
    with pytest.raises(ConfigurationError, match=text):
        flyscan.regrid(name, *arguments, **options)
    with pytest.raises(StorageError, match="cannot be read"):
        flyscan.regrid(tmp_path / "no.h5", "Fe", 5)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (Fly(PERIOD @ Spiral("x", 0, 10, 1, "y", 0, 10)), "nothing says where along"),
        (PERIOD @ (Linspace("y", 0, 1, 2) * Linspace("x", 0, 1, 2) * 3), "go along no axis"),
    ],
)
async def test_only_lines_become_maps(tmp_path: FilePath, spec: Any, text: str) -> None:
    path = Path.from_spec(spec, trigger=Trigger.TIME)
    name = await write(tmp_path, path=path)
    with pytest.raises(ConfigurationError, match=text):
        flyscan.regrid(name, "Fe", 5)


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, flyscan; assert 'h5py' not in sys.modules; print(flyscan.regrid.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "regrid\n", done.stderr
