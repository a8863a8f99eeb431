"""Best-Effort Callback, LiveTable and the progress bar show a flight from its preview."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bluesky.callbacks import LiveTable
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.utils import ProgressBarBase, ProgressBarManager
from matplotlib import pyplot as plt
from scanspec.specs import Fly, Linspace

from flyscan import fly, fly_grid
from tests.consumers.session import Session

MAP = ("y", 0, 3, 4, "x", 0, 10, 201)
POINTS = 4 * 201
PERIOD = 0.001


@pytest.fixture(autouse=True)
def _canvas() -> Iterator[None]:
    """Figures without a display."""
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def best_effort(session: Session) -> BestEffortCallback:
    """Subscribed as in any start-up script."""
    best_effort = BestEffortCallback()
    session.RE.subscribe(best_effort)
    return best_effort


def taken(session: Session, key: str) -> list[float]:
    """What previews should say: means in the file over the frames of each, line by line."""
    columns = session.columns()
    rows, first = [], 0
    for event in session.events("preview"):
        frames = np.arange(first, event["nano-preview-frame"] + 1)
        line = columns["nano-segment"][frames] == columns["nano-segment"][frames[-1]]
        rows.append(float(np.mean(columns[key][frames[line]])))
        first = frames[-1] + 1
    return rows


@pytest.mark.usefixtures("best_effort")
def test_a_map_is_drawn_where_it_was_taken(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.RE(fly_grid(session.nano, *MAP, period=PERIOD, snake=False))

    (number,) = plt.get_fignums()
    picture, _colours = plt.figure(number).axes
    (points,) = picture.collections
    drawn = np.asarray(points.get_offsets())
    assert (picture.get_xlabel(), picture.get_ylabel()) == ("nano-preview-y", "nano-preview-x")
    np.testing.assert_allclose(drawn[:, 0], taken(session, "nano-y"))
    np.testing.assert_allclose(drawn[:, 1], taken(session, "nano-x"))
    np.testing.assert_allclose(points.get_array(), taken(session, "nano-signal"))
    assert len(drawn) >= 4
    np.testing.assert_allclose(drawn[:, 0], np.round(drawn[:, 0]))  # never between two lines
    assert picture.get_xlim() == pytest.approx((0, 3))
    assert picture.get_ylim() == pytest.approx((-0.025, 10.025))
    assert "did not get" not in capsys.readouterr().out


@pytest.mark.usefixtures("best_effort")
def test_a_line_is_drawn_over_its_axis(session: Session) -> None:
    session.RE(fly(session.nano, Fly(PERIOD @ Linspace("x", 0, 10, 601))))

    (number,) = plt.get_fignums()
    (picture,) = plt.figure(number).axes
    (line,) = picture.lines
    np.testing.assert_allclose(line.get_xdata(), taken(session, "nano-x"))
    np.testing.assert_allclose(line.get_ydata(), taken(session, "nano-signal"))
    assert len(line.get_xdata()) >= 2


@pytest.mark.usefixtures("best_effort")
def test_chosen_channels_alone_are_drawn(session: Session) -> None:
    session.nano.hint("y")
    session.RE(fly(session.nano, Fly(PERIOD @ Linspace("x", 0, 10, 301))))

    (number,) = plt.get_fignums()
    (picture,) = plt.figure(number).axes
    assert picture.get_ylabel() == "nano-preview-y"


def test_a_table_of_the_preview(session: Session) -> None:
    printed: list[str] = []
    keys = ["nano-preview-x", "nano-preview-signal"]
    session.RE.subscribe(LiveTable(keys, stream_name="preview", out=printed.append))
    session.RE(fly(session.nano, Fly(PERIOD @ Linspace("x", 0, 10, 501))))

    rows = [line.split("|")[1:-1] for line in printed if ":" in line and "|" in line]
    events = session.events("preview")
    assert events
    assert [float(row[2]) for row in rows] == pytest.approx(
        [event["nano-preview-x"] for event in events], abs=1e-3
    )
    assert [int(row[0]) for row in rows] == list(range(1, len(events) + 1))


class Bar(ProgressBarBase):
    """What a progress bar is told."""

    def __init__(self, statuses: Any) -> None:
        self.told: list[dict[str, Any]] = []
        self.cleared = False
        for status in statuses:
            status.watch(self._note)

    def _note(self, **update: Any) -> None:
        self.told.append(update)

    def clear(self) -> None:
        self.cleared = True


def test_the_progress_bar_goes_on_across_a_pause(session: Session) -> None:
    bars: list[Bar] = []

    def make(statuses: Any) -> Bar:
        bars.append(Bar(statuses))
        return bars[-1]

    session.RE.waiting_hook = ProgressBarManager(make)
    session.pause_after(POINTS // 3)
    session.run_until_paused(fly_grid(session.nano, *MAP, period=PERIOD))
    (bar,) = bars
    assert not bar.cleared
    held_at = bar.told[-1]["current"]
    session.RE.resume()

    frames = [update["current"] for update in bar.told]
    assert 0 < held_at < POINTS
    assert frames == sorted(frames)
    assert frames[-1] == POINTS
    assert {update["target"] for update in bar.told} == {POINTS}
    assert {update["unit"] for update in bar.told} == {"frames"}
    assert bars == [bar]
    assert bar.cleared
