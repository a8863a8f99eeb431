"""The link stays in step and never hangs, whatever the box does."""

from __future__ import annotations

import asyncio
import time

import pytest

from flyscan.controllers.gcs._codec import Answer, parse_integer, parse_numbers
from flyscan.controllers.gcs._link import GcsLink
from flyscan.errors import (
    ConnectionLostError,
    ControllerError,
    FlyscanError,
    LimitError,
    NotReadyError,
)
from flyscan.flight import RealClock
from tests.controllers.gcs_fake import IDENTITY, FakeBox

TIMEOUT = 0.05


@pytest.fixture
async def box():
    box = FakeBox()
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
async def link(box: FakeBox):
    link = make_link(box.port)
    await link.open()
    yield link
    await link.close()


def make_link(port: int, timeout: float = TIMEOUT) -> GcsLink:
    return GcsLink("piezo", "127.0.0.1", port, clock=RealClock(), timeout=timeout, reconnect=0.5)


def position(answer: Answer) -> float:
    return parse_numbers(answer, ["1"])["1"]


async def ask(link: GcsLink) -> float:
    return await link.query(position, "POS?", "1")


async def test_open_identifies_and_is_idempotent(box: FakeBox, link: GcsLink):
    await link.open()
    assert link.identity == IDENTITY
    assert box.received == ["*IDN?"]
    await link.close()
    await link.close()
    assert link.identity == ""


async def test_wrong_port_is_named():
    box = FakeBox()
    await box.start()
    port = box.port
    await box.stop()
    with pytest.raises(ConnectionLostError) as caught:
        await make_link(port).open()
    assert f"controller at 127.0.0.1:{port} cannot be reached" in str(caught.value)
    assert "check its power, the network and the configured host and port" in caught.value.remedy
    assert caught.value.device == "piezo"


async def test_a_peer_that_is_silent_is_named(box: FakeBox):
    box.replies["*IDN?"] = lambda box, command: None
    with pytest.raises(ConnectionLostError, match=r"answered nothing to \*IDN\?"):
        await make_link(box.port).open()


async def test_a_query_before_open_is_refused(box: FakeBox):
    with pytest.raises(ConnectionLostError, match="is not connected"):
        await ask(make_link(box.port))


async def test_query_and_command(box: FakeBox, link: GcsLink):
    box.replies["POS?"] = "1=2.5"
    assert await ask(link) == 2.5
    await link.command("MOV", "1", 3.25)
    assert box.received == ["*IDN?", "POS? 1", "MOV 1 3.25", "ERR?"]


async def test_a_refused_query_raises_its_named_error_at_once_after_the_timeout(
    box: FakeBox, link: GcsLink
):
    box.replies["POS?"] = box.refuse(5)
    began = time.monotonic()
    with pytest.raises(NotReadyError) as caught:
        await ask(link)
    assert str(caught.value).startswith("piezo: 'POS? 1' failed: move refused: servo off")
    assert time.monotonic() - began < 10 * TIMEOUT
    box.replies["POS?"] = "1=7"
    assert await ask(link) == 7


async def test_no_answer_and_no_error_is_said_so(box: FakeBox, link: GcsLink):
    with pytest.raises(ControllerError, match=r"no answer to 'POS\? 1' within 0.05 s and no error"):
        await ask(link)


async def test_a_refused_command_raises_its_named_error(box: FakeBox, link: GcsLink):
    box.replies["MOV"] = box.refuse(7)
    with pytest.raises(LimitError, match=r"'MOV 1 99' failed: position outside the travel"):
        await link.command("MOV", "1", 99)
    await link.command("MOV", "1", 99, accept={7})


async def test_commands_sent_together_are_confirmed_together(box: FakeBox, link: GcsLink):
    asked: list[str] = []
    box.replies["ERR?"] = lambda box, command: asked.append(command) or b"0\n"
    await link.commands(("VEL", "1", 5), ("MOV", "1", 99))
    assert len(asked) == 1

    del box.replies["ERR?"]
    box.replies["VEL"] = box.refuse(17)
    with pytest.raises(FlyscanError, match="'VEL 1 5, MOV 1 99' failed"):
        await link.commands(("VEL", "1", 5), ("MOV", "1", 99))


async def test_a_late_answer_is_taken_for_what_it_is(box: FakeBox, link: GcsLink):
    """Late by more than the time-out, an answer comes together with that of ERR?."""
    held: list[bytes] = []

    def slow(box: FakeBox, command: str) -> None:
        held.append(b"1=4.5\n")

    def error(box: FakeBox, command: str) -> bytes:
        return held.pop() + b"0\n" if held else b"0\n"

    box.replies |= {"POS?": slow, "ERR?": error}
    assert await ask(link) == 4.5
    box.replies["POS?"] = "1=5"
    assert await ask(link) == 5


async def test_a_late_number_is_not_taken_for_the_error(box: FakeBox, link: GcsLink):
    """The answer of #9 looks like that of ERR?; their order tells them apart."""
    held: list[bytes] = []
    box.replies["#9"] = lambda box, command: held.append(b"7\n")
    box.replies["ERR?"] = lambda box, command: held.pop() + b"0\n" if held else b"0\n"
    assert await link.query(parse_integer, "#9") == 7


async def test_a_cancelled_query_leaves_the_link_in_step(box: FakeBox, link: GcsLink):
    gate = asyncio.Event()
    box.replies["POS?"] = lambda box, command: gate.set()
    task = asyncio.ensure_future(ask(link))
    await gate.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    box.replies["POS?"] = "1=2"
    box.say(b"1=1\n")  # the answer to the cancelled query
    assert await ask(link) == 2


async def test_garbage_is_asked_again_once(box: FakeBox, link: GcsLink):
    replies = iter([b"\xff\x00?!\n", b"1=3\n"])
    box.replies["POS?"] = lambda box, command: next(replies)
    assert await ask(link) == 3


async def test_garbage_without_a_line_end_is_swept_away(box: FakeBox, link: GcsLink):
    replies = iter([b"1=3\nnoise", b"1=4\n"])
    box.replies["POS?"] = lambda box, command: next(replies)
    assert await ask(link) == 3
    assert await ask(link) == 4
    assert box.connections == 1


async def test_lasting_garbage_is_an_error(box: FakeBox, link: GcsLink):
    box.replies["POS?"] = b"\xff\xfe\n"
    with pytest.raises(ControllerError, match=r"nonsense after 'POS\? 1': expected values of 1"):
        await ask(link)
    box.replies["POS?"] = "1=4"
    assert await ask(link) == 4


async def test_an_unsolicited_answer_is_not_taken_for_the_next_one(box: FakeBox, link: GcsLink):
    box.replies["POS?"] = b"1=3\n1=99\n"
    assert await ask(link) == 3
    box.replies["POS?"] = "1=4"
    assert await ask(link) == 4


async def test_a_garbled_confirmation_repeats_the_command(box: FakeBox, link: GcsLink):
    replies = iter([b"??\n", b"0\n"])
    box.replies["ERR?"] = lambda box, command: next(replies)
    await link.command("MOV", "1", 5)
    assert box.received.count("MOV 1 5") == 2


async def test_what_must_not_happen_twice_is_not_repeated(box: FakeBox, link: GcsLink):
    box.replies["ERR?"] = b"??\n"
    with pytest.raises(ControllerError, match="nonsense after 'WGO 1 1'"):
        await link.command("WGO", "1", 1, repeat=False)
    assert box.received.count("WGO 1 1") == 1


async def test_a_lost_connection_is_made_again_and_the_query_repeated(box: FakeBox, link: GcsLink):
    box.replies["POS?"] = lambda box, command: box.drop() if box.connections == 1 else "1=6"
    assert await ask(link) == 6
    assert box.connections == 2


async def test_a_command_that_must_not_happen_twice_fails_with_the_connection(
    box: FakeBox, link: GcsLink
):
    box.replies["WGO"] = lambda box, command: box.drop()
    with pytest.raises(ConnectionLostError, match="closed the connection"):
        await link.command("WGO", "1", 1, repeat=False)
    assert box.received.count("WGO 1 1") == 1


async def test_a_box_that_stays_away_is_given_up(box: FakeBox, link: GcsLink):
    await box.stop()
    began = time.monotonic()
    with pytest.raises(ConnectionLostError, match="cannot be reached"):
        await ask(link)
    assert 0.3 < time.monotonic() - began < 2


async def test_another_box_at_the_same_address_is_refused(box: FakeBox, link: GcsLink):
    box.replies["POS?"] = lambda box, command: box.drop()
    box.replies["*IDN?"] = "another box"
    with pytest.raises(ConnectionLostError, match=r"answered 'another box' to \*IDN\?"):
        await ask(link)


async def test_a_box_that_stops_answering_is_named(box: FakeBox, link: GcsLink):
    box.replies |= dict.fromkeys(("*IDN?", "ERR?", "POS?"), lambda box, command: None)
    with pytest.raises(ConnectionLostError, match=r"gave no answer|answered nothing"):
        await ask(link)


async def test_exchanges_of_several_callers_do_not_mix(box: FakeBox, link: GcsLink):
    box.replies["POS?"] = lambda box, command: f"{command.split()[1]}=0.{command.split()[1]}"

    async def one(axis: int) -> float:
        found = await link.query(lambda a: parse_numbers(a, [str(axis)]), "POS?", str(axis))
        return found[str(axis)]

    found = await asyncio.gather(*(one(axis) for axis in range(1, 9)))
    assert found == [axis / 10 for axis in range(1, 9)]


async def test_a_shout_does_not_wait_for_the_exchange_under_way(box: FakeBox, link: GcsLink):
    stopped = asyncio.Event()
    box.replies["#24"] = lambda box, command: stopped.set()
    box.replies["POS?"] = lambda box, command: None
    task = asyncio.ensure_future(ask(link))
    await asyncio.sleep(0)
    link.shout("#24")
    async with asyncio.timeout(1):
        await stopped.wait()
    with pytest.raises(ControllerError):
        await task
