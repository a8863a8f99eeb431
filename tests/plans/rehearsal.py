"""A rehearsal that judges: what must be true of a run however it was interrupted."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks import _rehearsal
from benchmarks._stage import PATIENCE, Switch
from flyscan.storage import check_file

__all__ = ["Rehearsal", "Switch", "rehearsal"]


class Rehearsal(_rehearsal.Rehearsal):
    """A session whose runs are judged."""

    @property
    def suspensions(self) -> list[bool]:
        """For every time the RunEngine was suspended, whether the stage was at rest."""
        return [not rest.moving for rest in self.rests if rest.kind == "suspend"]

    def check_rest(self) -> None:
        assert not self.box.motion.moving

    def check_safe(self) -> None:
        """At rest, disarmed, restored, nothing pending."""
        self.settle()
        assert not self.pilot.complaints, self.pilot.complaints
        assert not any(rest.moving for rest in self.rests), self.rests
        self.check_rest()
        assert self.settings() == self.found
        assert self.pending() == []
        assert not self.nano.guard.armed

    def pending(self) -> list[str]:
        """Tasks left over on the two loops."""

        async def names() -> list[str]:
            for _ in range(20):
                await asyncio.sleep(0)
            here = asyncio.current_task()
            return [repr(t) for t in asyncio.all_tasks() if t is not here]

        left = [*self.on_RE(names()), *self.host.run(names()).result(PATIENCE)]
        return [text for text in left if "Pilot.fly" not in text]

    @property
    def exit_status(self) -> str:
        (stop,) = self.of("stop")
        return stop["exit_status"]

    def described_frames(self) -> int:
        """Frames in documents; checks that none is missing or there twice."""
        ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for datum in self.of("stream_datum"):
            indices, seq_nums = datum["indices"], datum["seq_nums"]
            assert seq_nums["start"] == indices["start"] + 1
            assert seq_nums["stop"] == indices["stop"] + 1
            ranges[datum["stream_resource"]].append((indices["start"], indices["stop"]))
        assert set(ranges) <= {r["uid"] for r in self.of("stream_resource")}
        ends = set()
        for parts in ranges.values():
            assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
            ends.add(parts[-1][1])
        assert len(ends) <= 1
        return ends.pop() if ends else 0

    def check_pages(self) -> None:
        """Event pages: seq_nums of every stream from 1 without gap."""
        counts: dict[str, int] = defaultdict(int)
        for page in self.of("event_page"):
            for seq_num in page["seq_num"]:
                counts[page["descriptor"]] += 1
                assert seq_num == counts[page["descriptor"]]

    def column(self, name: str) -> np.ndarray:
        with h5py.File(self.file, "r") as file:
            return file["/entry/data"][name][()]

    def triggered_at(self) -> np.ndarray:
        """Where the stage truly was at every trigger, shape (2, frames)."""
        tracks = self.box.motion.trajectories
        return np.array([[tracks[a].at(t)[0] for t in self.clock_times()] for a in ("x", "y")])

    def clock_times(self) -> np.ndarray:
        """What the clock said at every trigger."""
        with h5py.File(self.file, "r") as file:
            times = file["/entry/data/time"]
            return times[()] + (int(times.attrs["epoch_ns"]) - self.clock.epoch_ns) / 1e9

    def check_complete(self, points: int, flights: int = 1) -> None:
        """Every point of every flight once, in file and documents, and nothing else."""
        frames = points * flights
        assert self.column("point").tolist() == list(range(points)) * flights
        assert self.column("flight").tolist() == sorted([*range(flights)] * points)
        assert self.column("keep").all()
        assert self.described_frames() == frames
        self.check_pages()
        assert check_file(self.file, self.documents).problems == ()
        assert self.exit_status == "success"
        self.check_safe()

    def check_partial(self, *, prefix: bool) -> int:
        """Every frame taken so far once; documents have them all, or a prefix of them."""
        self.check_safe()
        if not self.of("stream_datum") and not self.file:
            return 0
        points = self.column("point")
        assert points.tolist() == list(range(len(points)))
        described = self.described_frames()
        assert described <= len(points) if prefix else described == len(points)
        self.check_pages()
        report = check_file(self.file, self.documents if described else None)
        assert report.intact, report
        return len(points)


@contextmanager
def rehearsal(folder: Path, **params: Any) -> Iterator[Rehearsal]:
    stage = Rehearsal(folder, **params)
    try:
        yield stage
    finally:
        stage.close()
