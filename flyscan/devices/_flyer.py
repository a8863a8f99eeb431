"""The flyer: a rig of the flight host as the RunEngine sees it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from bluesky.protocols import (
    Configurable,
    Flyable,
    Hints,
    Preparable,
    Reading,
    Stageable,
    Stoppable,
    StreamAsset,
    WritesStreamAssets,
)
from bluesky.utils import NoReplayAllowed
from event_model import DataKey
from ophyd_async.core import (
    AsyncStatus,
    Device,
    PathProvider,
    WatchableAsyncStatus,
    WatcherUpdate,
)

from ..errors import (
    ConfigurationError,
    FlightAbortedError,
    FlyscanError,
    HostError,
    LedgerError,
    error_from_dict,
)
from ..flight import Path
from ..flight.host import Host
from ..storage import file_uri, stream_resources
from ._axis import HostAxis
from ._detectors import FlyingDetectors
from ._documents import StreamDocuments, file_layout
from ._guard import Guard
from ._keys import (
    configuration_keys,
    ledger_keys,
    ledger_row,
    preview_keys,
    tuning_keys,
    tuning_row,
)
from ._pages import PageStream

__all__ = ["Flyer"]

PAUSE = "pause"
HOLD_TIMEOUT = 60.0
USE_OUR_PLANS = "use flyscan.plans.fly or fly_grid, which stage, prepare and collect it"


class Flyer(
    Device,
    Stageable,
    Preparable,
    Flyable,
    Stoppable,
    Configurable[Any],
    WritesStreamAssets,
):
    """Flies paths, pauses and resumes them exactly, and describes their data while they fly.

    Data reaching it are counts, previews and accounts; the rows themselves stay between the
    host and the file. Everything it collects is in memory already, so collecting never
    suspends, and a pause cannot fall into the middle of it.

    Args:
        host: where the flights run; started on connecting.
        rig: the flyer's name in the host's configuration.
        path_provider: says where files go.
        name: device name, `rig` by default; prefix of its data keys.
    """

    def __init__(self, host: Host, rig: str, path_provider: PathProvider, name: str = "") -> None:
        self._host = host
        self._rig = rig
        self._path_provider = path_provider
        self.guard = Guard(self._rest)
        self.preview = PageStream()
        self.ledger = PageStream()
        self.tuning = PageStream()
        self._about: dict[str, Any] = {}
        self._hinted: tuple[str, ...] | None = None
        self._staged = False
        self._file: str | None = None
        self._documents: StreamDocuments | None = None
        self._flushed = 0
        self._kept = 0
        self._rows_total = 0
        self._prepared: tuple[str, AsyncStatus[None]] | None = None
        self._in_flight = self._held = self._told_to_stop = False
        self._ended: asyncio.Event = asyncio.Event()
        self._progress: asyncio.Event = asyncio.Event()
        self._error: FlyscanError | None = None
        self._unstaging: AsyncStatus[None] | None = None
        self._detectors: FlyingDetectors | None = None
        self._counting: set[asyncio.Task[None]] = set()
        super().__init__(name or rig)

    # --- connecting and describing ---------------------------------------------------------

    async def connect(
        self, mock: Any = False, timeout: float = 30.0, force_reconnect: bool = False
    ) -> None:
        """Start the host if need be, connect its controllers and learn the channels.

        Raises:
            FlyscanError: a controller is unreachable or configured wrongly.
        """
        await super().connect(mock, timeout, force_reconnect)  # pyright: ignore[reportUnknownMemberType]
        if mock or (self._about and not force_reconnect):
            return
        await self._host.start()
        self._about = await self._host.call("describe", flyer=self._rig)
        self._define_preview()
        self.ledger.define(ledger_keys(self._rig))
        self.tuning.define(tuning_keys(self._rig))
        self._host.subscribe(self._rig, self._on_event)

    def hint(self, *channels: str) -> None:
        """Choose the channels that live plots draw; by default all that are not positions.

        Raises:
            ConfigurationError: there is no such channel.
        """
        known = {c["name"] for c in self._about.get("channels", [])}
        if not set(channels) <= known:
            raise ConfigurationError(
                f"no channel called {', '.join(sorted(set(channels) - known))}",
                device=self.name,
                remedy=f"use some of {', '.join(sorted(known))}",
            )
        self._hinted = channels
        self._define_preview()

    def _define_preview(self, *, tuned: bool = False) -> None:
        channels = self._about["channels"]
        plain = [c["name"] for c in channels if c["axis"] is None and not c["shape"]]
        hints = plain if self._hinted is None else list(self._hinted)
        keys = preview_keys(self._rig, channels, tuned=tuned)
        self.preview.define(keys, [*hints, "speed"] if tuned else hints)

    @property
    def hints(self) -> Hints:
        """Nothing of the full-rate stream is to be drawn: its rows are not in the documents.

        An empty list says so; saying nothing would mean all of it.
        """
        return {"fields": []}

    @property
    def axes(self) -> dict[str, dict[str, Any]]:
        """Axis name to its limits (low, high, velocity, acceleration), unit and precision."""
        return dict(self._about.get("axes", {}))

    def axis(self, name: str) -> HostAxis:
        """One of the flyer's axes as a movable."""
        return HostAxis(self._host, self._rig, name, name=f"{self.name}-{name}")

    def position_key(self, axis: str) -> str | None:
        """Data key, in the preview, of the channel that reports an axis; None if it has none."""
        for channel in self._about.get("channels", []):
            if channel["axis"] == axis:
                return self.preview.data_key(channel["name"])
        return None

    async def read_configuration(self) -> dict[str, Reading[Any]]:
        now = time.time()
        return {
            f"{self.name}-{key}": {"value": self._about[key], "timestamp": now}
            for key in ("min_period", "block_period")
        }

    async def describe_configuration(self) -> dict[str, DataKey]:
        keys = configuration_keys(self._rig)
        return {f"{self.name}-{column}": key for column, key in keys.items()}

    # --- staging ---------------------------------------------------------------------------

    def stage(self) -> AsyncStatus[None]:
        """Reserve the flyer for a run."""
        return AsyncStatus(self._stage(), name=self.name)

    async def _stage(self) -> None:
        if self._staged:
            return
        if self._unstaging is not None and not self._unstaging.done:
            await self._unstaging
        if not self._about:
            raise ConfigurationError(
                "is not connected", device=self.name, remedy="connect it, e.g. with init_devices()"
            )
        self._staged = True
        self._held = self._told_to_stop = False
        self._file, self._documents = None, None
        self._flushed = self._kept = 0
        self._error = None
        self._detectors = None
        self.preview.clear()
        self.ledger.clear()
        self.tuning.clear()

    def unstage(self) -> AsyncStatus[None]:
        """Stop what flies, close the file, put settings back; the stop is under way on return."""
        self._staged = self._in_flight = False
        self._told_to_stop = True
        self.guard.relax()
        if self._unstaging is None or self._unstaging.done:
            # The RunEngine does not await this status at an abnormal exit, so the request must
            # be on its way already when this returns: a task starts on the loop's next turn.
            self._unstaging = AsyncStatus(self._close_run(), name=self.name)
        return self._unstaging

    async def _close_run(self) -> None:
        for task in self._counting:
            task.cancel()
        prepared, self._prepared = self._prepared, None
        if prepared is not None and not prepared[1].done:
            await self._host.call("stop", flyer=self._rig)
            # Whoever waits for that status is told how it ended; here only the end matters.
            with suppress(Exception):
                await prepared[1]
        if self._file is not None:
            self._file = None
            await self._host.call("close_run", flyer=self._rig)
        elif self._held:  # paused before there was a file, and ended: the next run is not to wait
            await self._host.call("release", flyer=self._rig, reason=PAUSE)

    # --- flying ----------------------------------------------------------------------------

    def prepare(
        self,
        value: Path | Mapping[str, Any],
        detectors: FlyingDetectors | None = None,
        steering: Mapping[str, Any] | None = None,
    ) -> AsyncStatus[None]:
        """Check a path (or its dict), open the run's file, arm, and go to the first run-up.

        A pause makes the RunEngine ask for the same again while the first is under way, or
        done; both then get the same status. `detectors` fly along and are armed already.
        `steering` says what tunes the flight while it flies, as JSON-able fields of
        :class:`flyscan.adaptive.SteeringConfig`; it is for all flights of a run or for none.
        """
        path = value if isinstance(value, Path) else Path.from_dict(value)
        key = repr((path.to_dict(), steering))
        if self._prepared is not None and self._prepared[0] == key:
            status = self._prepared[1]
            if status.success or not status.done:
                return status
        self._detectors = detectors
        status = AsyncStatus(self._prepare(path, steering), name=self.name)
        self._prepared = key, status
        return status

    async def _prepare(self, path: Path, steering: Mapping[str, Any] | None) -> None:
        if not self._staged:
            raise ConfigurationError("is not staged", device=self.name, remedy=USE_OUR_PLANS)
        data = path.to_dict()
        await self._host.call("validate", flyer=self._rig, path=data)
        if self._file is None and self._staged:
            await self._open_file(tuned=steering is not None)
        self._error = None
        self._told_to_stop = not self._staged
        self._ended.clear()
        self._kept = 0
        self._rows_total = path.points
        if self._staged:
            with self._stopped_quietly():
                await self._host.call("prepare", flyer=self._rig, path=data, steering=steering)

    @contextmanager
    def _stopped_quietly(self) -> Generator[None]:
        """A flight that ends early because its flyer was told to stop has not failed.

        The RunEngine throws the failure of any status into whatever the plan does at that
        moment: its clean-up, in this case.
        """
        try:
            yield
        except FlightAbortedError:
            if not self._told_to_stop:
                raise

    async def _open_file(self, *, tuned: bool) -> None:
        self._define_preview(tuned=tuned)
        info = self._path_provider(self.name)
        answer = await self._host.call(
            "open_run",
            flyer=self._rig,
            directory=str(info.directory_path),
            filename=info.filename,
            start={"device": self.name},
            detectors=[] if self._detectors is None else self._detectors.names,
            tuned=tuned,
        )
        self._file = str(answer["file"])
        self._documents = StreamDocuments(
            self.name, file_uri(self._file), stream_resources(file_layout(self._about, tuned=tuned))
        )

    @property
    def file(self) -> str | None:
        """Path of the run's file, from the first prepare to unstage."""
        return self._file

    def kickoff(self) -> AsyncStatus[None]:
        """Start the prepared flight.

        Raises:
            ConfigurationError: nothing is prepared.
        """
        if self._prepared is None or not self._prepared[1].success:
            raise ConfigurationError("is not prepared", device=self.name, remedy=USE_OUR_PLANS)
        # From here on nothing may be repeated, even if a pause comes before the host knows.
        self._prepared = None
        self._in_flight = True
        return AsyncStatus(self._host.call("kickoff", flyer=self._rig), name=self.name)

    def complete(self) -> WatchableAsyncStatus[int]:
        """Done when the flight has ended and its last row is described; reports progress."""
        return WatchableAsyncStatus(self._watch(), name=self.name)

    async def _watch(self) -> AsyncIterator[WatcherUpdate[int]]:
        reported = -1
        while not self._ended.is_set():
            if self._kept != reported:
                reported = self._kept
                yield self._update()
            self._progress.clear()
            await self._progress.wait()
        yield self._update()
        with self._stopped_quietly():
            self.check_outcome()

    def check_outcome(self) -> None:
        """Raise what the flight ended with, if not with success; also if it was told to stop."""
        if self._error is not None:
            raise self._error

    def _update(self) -> WatcherUpdate[int]:
        return WatcherUpdate(
            current=self._kept,
            initial=0,
            target=self._rows_total,
            name=self.name,
            unit="frames",
            precision=0,
        )

    async def _rest(self) -> None:
        """Hold, with a limit; the RunEngine waits for this without one."""
        self._held = True
        hold = asyncio.ensure_future(self._host.call("hold", flyer=self._rig, reason=PAUSE))
        await asyncio.wait((hold,), timeout=HOLD_TIMEOUT)
        if not hold.done():
            raise HostError(
                f"the flight did not come to rest within {HOLD_TIMEOUT:g} s",
                device=self.name,
                remedy="stop it with `flyscan stop` or at the controller",
            )
        hold.result()

    async def pause(self) -> None:
        """Hold; return at rest, with every row captured so far stored.

        A failure to hold fails the flight: raised here, it would end the run without clean-up.

        Raises:
            NoReplayAllowed: between kickoff and the last collect, where repeating messages
                would start the flight again.
        """
        if not self._staged:
            return
        try:
            await self._rest()
        except FlyscanError as exc:
            self._give_up(exc)
        if self._in_flight:
            raise NoReplayAllowed

    async def resume(self) -> None:
        """Go on where the flight was held, unless it has ended meanwhile."""
        if self._staged:
            try:
                await self._host.call("release", flyer=self._rig, reason=PAUSE)
            except FlyscanError as exc:
                self._give_up(exc)

    async def stop(self, success: bool = True) -> None:
        """Stop motion and triggers, keep and describe what was captured."""
        self._told_to_stop = True
        if self._file is not None:
            await self._host.call("stop", flyer=self._rig)

    def trigger(self) -> AsyncStatus[None]:
        """Refuse to be used as a detector that is read point by point.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "is a flyer and cannot be triggered and read", device=self.name, remedy=USE_OUR_PLANS
        )

    def _give_up(self, error: FlyscanError) -> None:
        """Fail the flight for a reason the host does not know of."""
        if self._in_flight and not self._ended.is_set():
            self._error = error
            self._ended.set()
            self._progress.set()

    def finished(self) -> None:
        """Account for the flight after the last collect: stored and described must agree.

        Rows that a detector has no frame for are not described: all of them share the stream.

        Raises:
            LedgerError: rows are in the file that no document describes.
        """
        self._in_flight = False
        described = self._documents.described if self._documents else 0
        if described != min(self._flushed, self._detectors.index if self._detectors else math.inf):
            raise LedgerError(
                f"{self._flushed} frames stored, {described} described in documents",
                device=self.name,
                remedy="the file is complete: `flyscan check` shows the difference",
            )

    # --- collecting ------------------------------------------------------------------------

    async def describe_collect(self) -> dict[str, DataKey]:
        if self._documents is None:
            raise ConfigurationError("is not prepared", device=self.name, remedy=USE_OUR_PLANS)
        return self._documents.data_keys()

    @property
    def flushed(self) -> int:
        """Frames of the run that other processes can read from the file."""
        return self._flushed

    async def get_index(self) -> int:
        return self._flushed

    def collect_asset_docs(self, index: int | None = None) -> Iterator[StreamAsset]:
        """Documents for the frames flushed since the last call, up to `index` if given."""
        if self._documents is not None:
            frames = self._flushed if index is None else min(index, self._flushed)
            yield from self._documents.up_to(frames)

    # --- events ----------------------------------------------------------------------------

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "flushed":
            self._flushed = event["frames"]
            self._kept = event["kept"]
        elif kind == "preview":
            self.preview.add(event["row"]["time"], event["row"])
        elif kind == "ledger":
            self.ledger.add(time.time(), ledger_row(event["row"]))
        elif kind == "tuning":
            self.tuning.add(time.time(), tuning_row(event["row"]))
        elif kind == "count":
            task = asyncio.ensure_future(self._count(event))
            self._counting.add(task)
            task.add_done_callback(self._counting.discard)
        elif kind == "ended" and not self._ended.is_set():
            error = event["error"]
            self._error = None if error is None else error_from_dict(error)
            self._ended.set()
        self._progress.set()

    async def _count(self, event: dict[str, Any]) -> None:
        """Count the detectors' frames for the host, which starts no triggers before.

        Where they do not add up the flight ends, so that nothing waits for an answer any more.
        """
        if self._detectors is None:
            return
        try:
            await self._detectors.count(event["frames"], event["segment"], last=event["last"])
            await self._host.call("counted", flyer=self._rig, number=event["number"])
        except FlyscanError as exc:
            self._give_up(exc)
            # A host that is gone has been reported already, and stops by itself.
            with suppress(FlyscanError):
                await self._host.call("stop", flyer=self._rig)
