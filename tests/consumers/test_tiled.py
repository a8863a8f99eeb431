"""Tiled reads a flight while it flies, and the same afterwards."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from bluesky.callbacks.buffer import BufferingWrapper
from bluesky_tiled_plugins import TiledWriter
from bluesky_tiled_plugins.writing.consolidators import HDF5Consolidator

from flyscan import adaptive_fly_grid, fly_grid
from flyscan.storage import check_file
from tests.consumers.session import Session
from tests.consumers.tiled_server import TiledServer

MAP = ("y", 0, 3, 4, "x", 0, 10, 201)
POINTS = 4 * 201
PERIOD = 0.005
BATCH = 100
LIVE_S = 30.0
LOOK_S = 0.1
NOTHING: npt.NDArray[np.float64] = np.empty(0)


class LiveReader:
    """A client that reads a column over and over while it grows, in a thread of its own.

    Args:
        tiled: the server.
        key: data key of the column.
        pause: called once, as soon as `after` rows could be read.
    """

    def __init__(self, tiled: TiledServer, key: str, pause: Any = None, after: int = 0) -> None:
        self._tiled = tiled
        self._key = key
        self._pause = pause
        self._after = after
        self._uid = ""
        self._started = threading.Event()
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.error: Exception | None = None
        self.seen: list[npt.NDArray[np.generic]] = []

    def on_start(self, _name: str, document: dict[str, Any]) -> None:
        self._uid = document["uid"]
        self._started.set()

    def __enter__(self) -> LiveReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._started.set()
        self._thread.join(LIVE_S)

    @property
    def lengths(self) -> list[int]:
        """How many rows there were, time after time."""
        return sorted({len(values) for values in self.seen})

    def _read(self) -> None:
        try:
            assert self._started.wait(LIVE_S)
            with self._tiled.client() as client:
                while not self._enough.wait(LOOK_S):
                    self._look(client)
        except Exception as error:  # raised in the test, which is another thread
            self.error = error

    def _look(self, client: Any) -> None:
        stream = read_stream(client, self._uid)
        column = None if stream is None else stream.get(self._key)
        # A slice, since `read()` is refused when rows have arrived since the shape was asked for.
        values = NOTHING if column is None else column[: column.shape[0]]
        if len(values) > (len(self.seen[-1]) if self.seen else 0):
            self.seen.append(values)
        if self._pause is not None and len(values) >= self._after:
            pause, self._pause = self._pause, None
            pause()


def read_stream(client: Any, uid: str, name: str = "primary") -> Any:
    """A stream of a run as Tiled has it now, None if it has not."""
    run = client.get(uid)
    return None if run is None else run.get(name)


@pytest.fixture
def writer(served: Session, tiled: TiledServer) -> Iterator[BufferingWrapper]:
    """Subscribed as the documentation recommends."""
    with tiled.client() as client:
        buffer = BufferingWrapper(TiledWriter(client, batch_size=BATCH))
        served.RE.subscribe(buffer)
        yield buffer
        buffer.shutdown()


def same_as_the_file(stream: Any, session: Session) -> int:
    """Compare every column, value by value; how many rows there are."""
    columns = session.columns()
    assert set(stream) == set(columns)
    for key, stored in columns.items():
        values = stream[key].read()
        np.testing.assert_array_equal(values, stored, err_msg=key)
        assert values.dtype == stored.dtype
    (rows,) = {len(stored) for stored in columns.values()}
    return rows


def test_a_flight_grows_in_tiled_while_it_flies_and_is_all_there_afterwards(
    served: Session, tiled: TiledServer, writer: BufferingWrapper
) -> None:
    reader = LiveReader(tiled, "nano-x", served.RE.request_pause, after=BATCH)
    served.RE.subscribe(reader.on_start, "start")
    with tiled.client() as client:
        with reader:
            served.run_until_paused(fly_grid(served.nano, *MAP, period=PERIOD))
            paused_at = served.described("nano-x")
            served.RE.resume()
            writer.shutdown()
        assert reader.error is None
        run = client[served.start["uid"]]
        x = served.columns()["nano-x"]

        assert same_as_the_file(run["primary"], served) == POINTS
        assert len(reader.lengths) >= 3
        assert reader.lengths[0] < POINTS
        for values in reader.seen:
            np.testing.assert_array_equal(values, x[: len(values)])
        assert BATCH <= paused_at < POINTS
        assert run.metadata["stop"]["exit_status"] == "success"
        for name in ("preview", "ledger"):
            same_as_the_events(run[name], served.events(name))


def same_as_the_events(stream: Any, events: list[dict[str, Any]]) -> None:
    """A stream's table holds what its events said."""
    table = stream.read()
    assert events
    for key in events[0]:
        np.testing.assert_array_equal(table[key], [event[key] for event in events], err_msg=key)


def test_rows_and_decisions_of_a_steered_flight_are_in_tiled(
    served: Session, tiled: TiledServer, writer: BufferingWrapper
) -> None:
    tuning = {"channel": "signal", "width": 1.0}
    served.RE(adaptive_fly_grid(served.nano, *MAP, period=PERIOD, **tuning))
    writer.shutdown()
    with tiled.client() as client:
        run = client[served.start["uid"]]
        assert {"nano-start", "nano-stop", "nano-pass"} <= set(run["primary"])
        same_as_the_file(run["primary"], served)
        same_as_the_events(run["preview"], served.events("preview"))
        same_as_the_events(run["tuning"], served.events("tuning"))


def test_what_was_captured_until_an_abort_is_in_tiled(
    served: Session, tiled: TiledServer, writer: BufferingWrapper
) -> None:
    reader = LiveReader(tiled, "nano-x", served.RE.request_pause, after=BATCH)
    served.RE.subscribe(reader.on_start, "start")
    with tiled.client() as client:
        with reader:
            served.run_until_paused(fly_grid(served.nano, *MAP, period=PERIOD))
            served.RE.abort()
            writer.shutdown()
        assert reader.error is None
        run = client[served.start["uid"]]

        assert BATCH <= same_as_the_file(run["primary"], served) < POINTS
        assert run.metadata["stop"]["exit_status"] == "abort"
        same_as_the_events(run["ledger"], served.events("ledger"))


def test_a_tiled_server_that_refuses_disturbs_no_flight(
    served: Session, tiled: TiledServer, tmp_path: Path
) -> None:
    with tiled.client() as client:
        buffer = BufferingWrapper(TiledWriter(client, backup_directory=str(tmp_path)))
        client.context.api_key = "revoked"
        served.RE.subscribe(buffer)
        served.RE(fly_grid(served.nano, "y", 0, 1, 2, "x", 0, 10, 51, period=PERIOD))
        buffer.shutdown()

    (backup,) = tmp_path.iterdir()
    (data,) = {d["uri"] for n, d in served.documents if n == "stream_resource"}
    report = check_file(data.removeprefix("file://localhost"), documents=backup)
    assert report.ok
    assert report.frames == 102


def test_the_writer_keeps_no_more_per_row_than_the_documentation_says() -> None:
    rows, step = 100_000, 200
    tracemalloc.start()
    try:
        consolidator = HDF5Consolidator(
            {
                "uid": "1",
                "data_key": "nano-x",
                "mimetype": "application/x-hdf5",
                "uri": "file://localhost/run.h5",
                "parameters": {"dataset": "/entry/data/x", "chunk_shape": [1024], "swmr": True},
            },
            {"data_keys": {"nano-x": {"shape": [1], "dtype": "number", "dtype_numpy": "<f8"}}},
        )
        for first in range(0, rows, step):
            span = {"start": first, "stop": first + step}
            consolidator.consume_stream_datum({"indices": span, "seq_nums": span})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert consolidator.shape == (rows,)
    assert 60 < kept / rows < 130
