"""What hosts answer: the same over a socket and in the calling process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path as FilePath
from typing import Any

import h5py
import pytest

from flyscan import errors
from flyscan.errors import BusyError, ConfigurationError, FlyscanError, HostError, error_from_dict
from flyscan.flight import Clock, Path
from flyscan.flight.host import Host, InProcessHost, ProcessHost
from flyscan.storage import check_file
from flyscan.testing import MemoryBox

BOX = {"class": "flyscan.testing:MemoryBox"}
OPTIONS = {"flush_period": 0.02}
CONFIG = {
    "controllers": {
        "left": BOX,
        "right": BOX,
        "typo": {"class": "flyscan.testing:MemoryBocks"},
        "nowhere": {"class": "no_such_package:Box"},
        "stubborn": {"class": "flyscan.testing:MemoryBox", "params": {"colour": "red"}},
    },
    "flyers": {
        "a": {"motion": "left.motion", "capture": "left.capture", "options": OPTIONS},
        "b": {"motion": "right.motion", "capture": "right.capture", "options": OPTIONS},
        "also a": {"motion": "left.motion", "capture": "right.capture", "options": OPTIONS},
        "typo": {"motion": "typo.motion", "capture": "left.capture"},
        "nowhere": {"motion": "nowhere.motion", "capture": "left.capture"},
        "stubborn": {"motion": "stubborn.motion", "capture": "left.capture"},
        "unwired": {"motion": "middle.motion", "capture": "left.capture"},
    },
}
LONG = 1000


def line(points: int = 5, axis: str = "x") -> dict[str, Any]:
    spec = {"type": "Linspace", "axis": axis, "start": 0, "stop": 1, "num": points}
    return Path.from_spec(spec, period=0.005).to_dict()


class Client:
    """A host with the events of its flyers."""

    def __init__(self, host: Host, folder: FilePath) -> None:
        self.host = host
        self.folder = folder
        self.events: dict[str, list[dict[str, Any]]] = {}
        self._news = asyncio.Event()

    async def open(self, flyer: str, points: int = 5) -> str:
        self.events[flyer] = []

        def remember(event: dict[str, Any]) -> None:
            self.events[flyer].append(event)
            self._news.set()

        self.host.subscribe(flyer, remember)
        directory = str(self.folder)
        answer = await self.host.call(
            "open_run", flyer=flyer, directory=directory, filename=flyer, start={}
        )
        await self.host.call("prepare", flyer=flyer, path=line(points))
        return answer["file"]

    async def until(self, flyer: str, kind: str) -> dict[str, Any]:
        """The first event of a kind."""
        async with asyncio.timeout(20):
            while True:
                for event in self.events[flyer]:
                    if event["event"] == kind:
                        return event
                self._news.clear()
                await self._news.wait()


@pytest.fixture(params=[InProcessHost, ProcessHost])
async def client(request: pytest.FixtureRequest, tmp_path: FilePath) -> AsyncIterator[Client]:
    host: Host = request.param(CONFIG)
    await host.start()
    yield Client(host, tmp_path)
    await host.close()


def points_in(file: str) -> list[int]:
    with h5py.File(file, "r", swmr=True) as opened:
        return opened["/entry/data/point"][()].tolist()


REFUSED: dict[str, tuple[str, dict[str, Any], type[FlyscanError], str]] = {
    "unknown request": (
        "fly_me",
        {},
        HostError,
        "flight host: unknown request 'fly_me'",
    ),
    "missing parameter": (
        "describe",
        {},
        HostError,
        "flight host: bad parameters for 'describe': missing a required argument: 'flyer'",
    ),
    "unknown parameter": (
        "describe",
        {"flyer": "a", "colour": 1},
        HostError,
        "flight host: bad parameters for 'describe': got an unexpected keyword argument 'colour'",
    ),
    "unknown flyer": (
        "describe",
        {"flyer": "c"},
        ConfigurationError,
        "flight host: no flyer called 'c'. Remedy: use one of a, b, also a, ",
    ),
    "unknown controller": (
        "describe",
        {"flyer": "unwired"},
        ConfigurationError,
        "flight host: no controller called 'middle'. Remedy: use one of left, right, ",
    ),
    "unknown axis": (
        "axis_read",
        {"owner": "a", "axis": "z"},
        ConfigurationError,
        "a: no axis called 'z'. Remedy: use one of x, y",
    ),
    "unknown class": (
        "describe",
        {"flyer": "typo"},
        ConfigurationError,
        "flight host: cannot load 'flyscan.testing:MemoryBocks': ",
    ),
    "unknown module": (
        "describe",
        {"flyer": "nowhere"},
        ConfigurationError,
        "flight host: cannot load 'no_such_package:Box': No module named 'no_such_package'. ",
    ),
    "unknown controller parameter": (
        "describe",
        {"flyer": "stubborn"},
        ConfigurationError,
        "stubborn: flyscan.testing:MemoryBox refuses its parameters: ",
    ),
    "no run": (
        "prepare",
        {"flyer": "a", "path": line()},
        ConfigurationError,
        "a: no run is open. Remedy: stage the flyer before preparing it",
    ),
    "nothing prepared": (
        "kickoff",
        {"flyer": "a"},
        ConfigurationError,
        "a: no flight is prepared. Remedy: prepare one first",
    ),
    "impossible path": (
        "validate",
        {"flyer": "a", "path": line(axis="z")},
        errors.BadPathError,
        "z: the path moves an axis nobody controls; known axes are x, y. ",
    ),
}


async def test_refusals_cross_as_what_they_are(client: Client) -> None:
    for method, params, kind, text in REFUSED.values():
        with pytest.raises(FlyscanError) as caught:
            await client.host.call(method, **params)
        assert type(caught.value) is kind, method
        assert str(caught.value).startswith(text)
    file = await client.open("a")  # no refusal has harmed the next flight
    await client.host.call("kickoff", flyer="a")
    assert (await client.until("a", "ended"))["error"] is None
    assert points_in(file) == list(range(5))


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if isinstance(k, type) and k is not Exception]
)
def test_every_error_survives_the_wire(kind: type[Any]) -> None:
    if not issubclass(kind, FlyscanError):
        return
    error = kind("has no water", device="bath", remedy="fill it")
    back = error_from_dict(error.to_dict())
    assert (type(back), str(back)) == (kind, "bath: has no water. Remedy: fill it")


async def test_two_flyers_fly_at_the_same_time(client: Client) -> None:
    files = [await client.open(flyer, points) for flyer, points in (("a", 40), ("b", 30))]
    for flyer in ("a", "b"):
        await client.host.call("kickoff", flyer=flyer)
    status = await client.host.call("status")
    assert {name: entry["state"] for name, entry in status.items()} == {
        "a": "flying",
        "b": "flying",
    }
    for flyer in ("a", "b"):
        assert (await client.until(flyer, "ended"))["error"] is None
    assert [len(points_in(file)) for file in files] == [40, 30]
    rows = [sum(e["event"] == "ended" for e in client.events[f]) for f in ("a", "b")]
    assert rows == [1, 1]


async def test_controllers_of_a_flight_are_not_shared(client: Client) -> None:
    await client.open("a", LONG)
    with pytest.raises(BusyError) as caught:
        await client.open("also a")
    assert str(caught.value) == (
        "also a: a flies its controllers at the moment. "
        "Remedy: wait for the end of that flight or stop it"
    )
    await client.host.call("close_run", flyer="a")
    await client.host.call("prepare", flyer="also a", path=line())
    await client.host.call("close_run", flyer="also a")


async def test_a_second_flight_of_the_same_flyer_is_refused(client: Client) -> None:
    await client.open("a", LONG)
    await client.host.call("kickoff", flyer="a")
    with pytest.raises(BusyError, match=r"^a: another flight is under way\. Remedy: wait for its"):
        await client.host.call("prepare", flyer="a", path=line())
    await client.host.call("stop", flyer="a")
    assert (await client.until("a", "ended"))["error"]["type"] == "FlightAbortedError"


async def test_closing_ends_a_flight_under_way(client: Client) -> None:
    file = await client.open("a", LONG)
    await client.host.call("kickoff", flyer="a")
    await client.until("a", "flushed")
    await client.host.close()
    assert check_file(file).clean
    taken = points_in(file)
    assert taken == list(range(len(taken)))
    assert len(taken) < LONG
    with pytest.raises(HostError, match="not running"):
        await client.host.call("status")
    await client.host.start()
    await client.open("b")


async def test_lost_events_fail_the_flight(tmp_path: FilePath) -> None:
    host = ProcessHost(CONFIG)
    seen: list[dict[str, Any]] = []
    host.subscribe("a", seen.append)
    for sequence in (7, 8, 11):
        host._check_sequence(sequence)
    (event,) = seen
    assert event["event"] == "ended"
    assert str(error_from_dict(event["error"])) == (
        "flight host: events 9 to 10 were lost. Remedy: a subscriber blocked this process too "
        "long; data are in the file"
    )


async def test_defects_are_told_as_such(tmp_path: FilePath) -> None:
    host = InProcessHost(CONFIG)
    await host.start()
    assert host.station is not None
    await host.call("describe", flyer="a")
    box = host.station._controllers["left"]

    async def defect() -> None:
        raise ZeroDivisionError("oops")

    box.motion.position = defect
    with pytest.raises(HostError) as caught:
        await host.call("axis_read", owner="a", axis="x")
    assert str(caught.value) == (
        "flight host: unexpected ZeroDivisionError while handling 'axis_read': oops. Remedy: "
        "this is a defect of flyscan or of a controller binding; report it"
    )
    await host.close()


# --- holds and stops that come before there is a flight ---------------------------------------


class SlowBox(MemoryBox):
    """Its limits take until they are wanted: long enough for others to come first."""

    def __init__(self, name: str, *, clock: Clock | None = None, **params: Any) -> None:
        super().__init__(name, clock=clock, **params)
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self.answer.set()
        limits = self.motion.limits

        async def slow() -> Any:
            self.asked.set()
            await self.answer.wait()
            return await limits()

        self.motion.limits = slow  # type: ignore[method-assign]


SLOW = {
    "controllers": {"box": {"class": f"{__name__}:SlowBox"}},
    "flyers": {"a": {"motion": "box.motion", "capture": "box.capture", "options": OPTIONS}},
}


@pytest.fixture
async def slow(tmp_path: FilePath) -> AsyncIterator[tuple[Client, Callable[[], Any]]]:
    """A client whose `prepare` is under way, and what lets it go on."""
    host = InProcessHost(SLOW)
    await host.start()
    client = Client(host, tmp_path)
    await client.open("a")
    await host.call("stop", flyer="a")
    assert host.station is not None
    box: SlowBox = host.station._controllers["box"]
    box.asked.clear()
    box.answer.clear()
    preparing = asyncio.ensure_future(host.call("prepare", flyer="a", path=line(axis="y")))
    await asyncio.wrap_future(host.run(box.asked.wait()))

    async def go_on() -> None:
        box.answer.set()

    async def finish() -> Any:
        await asyncio.wrap_future(host.run(go_on()))
        return await preparing

    yield client, finish
    await host.close()


async def test_stop_before_the_flight_is_made_stops_it(
    slow: tuple[Client, Callable[[], Any]],
) -> None:
    client, finish = slow
    where = await client.host.call("axis_read", owner="a", axis="y")
    await client.host.call("stop", flyer="a")
    with pytest.raises(errors.FlightAbortedError, match="a: stopped while preparing"):
        await finish()
    assert await client.host.call("axis_read", owner="a", axis="y") == where


async def test_hold_before_the_flight_is_made_holds_it(
    slow: tuple[Client, Callable[[], Any]],
) -> None:
    client, finish = slow
    await client.host.call("hold", flyer="a", reason="pause")
    where = await client.host.call("axis_read", owner="a", axis="y")
    client.events["a"].clear()
    finishing = asyncio.ensure_future(finish())
    state = await client.until("a", "state")
    assert (state["state"], state["holds"]) == ("preparing", ["pause"])
    assert await client.host.call("axis_read", owner="a", axis="y") == where
    assert not finishing.done()
    await client.host.call("release", flyer="a", reason="pause")
    await finishing
    assert (await client.host.call("status"))["a"]["state"] == "ready"
