"""Control and data port against a scripted box: pipelining, time-outs, closed and odd peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path as FilePath

import pytest
from pandablocks.responses import Data, FrameData, StartData

from flyscan.controllers.panda._control import ControlLink
from flyscan.controllers.panda._data import LIMIT, DataLink
from flyscan.controllers.panda._layout import Layout, read_layout
from flyscan.controllers.panda._settings import Settings, table_request
from flyscan.controllers.panda._text import Reply, int32, same_value, seconds, uint32
from flyscan.errors import (
    CaptureError,
    ConfigurationError,
    ConnectionLostError,
    ControllerError,
    LimitError,
    WatchdogError,
)
from flyscan.flight import RestoreStep

FIXTURES = FilePath(__file__).parents[1] / "fixtures" / "panda"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def transcript() -> dict[str, list[str]]:
    """First answer of a real server to every request of the recorded control session."""
    answers: dict[str, list[str]] = {}
    new: list[str] = []
    for line in (FIXTURES / "control.txt").read_text().splitlines():
        if line.startswith("< "):
            new = []
            answers.setdefault(line[2:], new)
        elif line.startswith("   > "):
            new.append(line[5:])
    return answers


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    """A TCP server on loopback; gives its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return  # the test is over
        finally:
            writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


class Box:
    """Answers from a table; everything else is accepted, with what was written read back."""

    def __init__(self, answers: dict[str, list[str]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.seen: list[str] = []
        self.asked = asyncio.Event()
        self.close_after: int | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().removesuffix("\n"):
            if self.close_after is not None and len(self.seen) >= self.close_after:
                self.close_after = None
                return
            self.seen.append(line)
            self.asked.set()
            if "<" in line and "=" not in line:
                while row := (await reader.readline()).decode().removesuffix("\n"):
                    self.seen.append(row)
            await self.gate.wait()
            field, equals, value = line.partition("=")
            if equals:
                self.answers[f"{field}?"] = [f"OK ={value}"]
            writer.write("".join(f"{a}\n" for a in self.answers.get(line, ["OK"])).encode())


@asynccontextmanager
async def link(box: Serve, timeout: float = 2.0) -> AsyncIterator[ControlLink]:
    async with server(box) as port:
        control = ControlLink("panda", "127.0.0.1", port, timeout)
        await control.open()
        try:
            yield control
        finally:
            await control.close()


# --- control port ---------------------------------------------------------------------------


async def test_requests_of_one_call_are_answered_in_order():
    async with link(Box(transcript())) as control:
        replies = await control.run("*IDN?", "PCOMP1.STATE?", "*CAPTURE?", "PCOMP1.STEP=100")
        assert replies[0].value.startswith("PandA SW: 4.1")
        assert replies[1].value == "WAIT_ENABLE"
        assert replies[2].items == []
        assert await control.values("PCOMP1.STEP") == ["100"]


async def test_every_one_of_many_requests_has_its_own_time():
    """Putting back the settings of a flight is one call of many requests."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await asyncio.sleep(0.02)  # what a busy box takes; nothing to wait for
            writer.write(b"OK\n")

    async with link(slow, timeout=0.2) as control:
        replies = await control.run(*(f"BITS.A={n % 2}" for n in range(20)))
        assert len(replies) == 20


async def test_a_connection_that_falls_silent_is_made_anew():
    """So a network that swallows packets looks: nobody closes anything."""
    answering = Box({"PCOMP1.STEP?": ["OK =7"]})
    connections = 0

    async def swallowing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await (reader.read() if connections == 1 else answering(reader, writer))

    async with link(swallowing, timeout=0.05) as control:
        assert await control.values("PCOMP1.STEP") == ["7"]
    assert connections == 2


async def test_requests_go_out_before_the_first_answer_comes():
    box = Box()
    box.gate.clear()
    async with link(box) as control:
        sent: list[bytes] = []
        assert control._writer is not None
        write = control._writer.write
        control._writer.write = lambda data: (sent.append(data), write(data))[1]  # type: ignore[method-assign]
        run = asyncio.create_task(control.run("A=1", ("T<B", "AAAA", ""), "B=2"))
        await box.asked.wait()
        assert sent == [b"A=1\nT<B\nAAAA\n\nB=2\n"]
        box.gate.set()
        assert [reply.sent for reply in await run] == ["A=1", "T<B", "B=2"]


async def test_a_refusal_names_request_and_reason():
    async with link(Box(transcript())) as control:
        with pytest.raises(ControllerError, match=r"'PCOMP1\.NOPE\?' was refused: No such field"):
            await control.run("PCOMP1.STATE?", "PCOMP1.NOPE?")
        lenient = await control.run("PCOMP1.NOPE?", "PCOMP1.STATE?", strict=False)
        assert lenient[0].error == "No such field"
        assert lenient[1].value == "WAIT_ENABLE"


async def test_a_cancelled_call_does_not_confuse_the_next():
    box = Box({"A?": ["OK =1"], "B?": ["!one", "!two", "."], "C?": ["OK =3"]})
    async with link(box) as control:
        box.gate.clear()
        run = asyncio.create_task(control.run("A?", "B?"))
        await box.asked.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        box.gate.set()
        assert await control.values("C") == ["3"]
        assert control.connections == 1


async def test_calls_at_the_same_time_take_turns():
    async with link(Box()) as control:
        await asyncio.gather(*(control.run(f"F{i}={i}", f"F{i}?") for i in range(20)))
        assert await control.values(*(f"F{i}" for i in range(20))) == [str(i) for i in range(20)]


async def test_a_closed_connection_is_remade_once_and_all_sent_again():
    box = Box()
    async with link(box) as control:
        box.close_after = 1
        replies = await control.run("A=1", "B=2")
        assert [r.lines for r in replies] == [("OK",), ("OK",)]
        assert box.seen == ["A=1", "A=1", "B=2"]
        assert control.connections == 2


async def test_what_must_not_be_repeated_is_not():
    box = Box()
    async with link(box) as control:
        box.close_after = 0
        with pytest.raises(ConnectionLostError, match=r"broke: .* closed it"):
            await control.run("*PCAP.ARM=", retry=False)
        assert box.seen == []
        assert control.connections == 1


async def test_silence_is_noticed_and_the_next_call_starts_afresh():
    box = Box({"A?": ["OK =1"], "B?": ["OK =2"]})
    async with link(box, timeout=0.05) as control:
        box.gate.clear()
        with pytest.raises(WatchdogError, match=r"no answer to 'A\?' within 0\.05 s"):
            await control.run("A?")
        box.gate.set()
        assert await control.values("B") == ["2"]


@pytest.mark.parametrize("nonsense", [b"!never\nending\n", b"\xff\xfe\n", b"OK\nOK\nOK\n"])
async def test_nonsense_is_named(nonsense: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(nonsense)
        await reader.read()

    async with link(serve) as control:
        with pytest.raises(ControllerError, match=r"expected a PandA's answer|was answered 'OK'"):
            await control.values("A")


async def test_a_closed_link_says_so():
    async with link(Box()) as control:
        await control.close()
        await control.close()
        with pytest.raises(ConnectionLostError, match="it was closed"):
            await control.run("A?", retry=False)


# --- words ----------------------------------------------------------------------------------


def test_integers_the_box_would_wrap_are_refused():
    assert int32("PCOMP1.START", -(2**31)) == "-2147483648"
    assert uint32("PCOMP1.PULSES", 2**32 - 1) == "4294967295"
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(LimitError, match=r"PCOMP1\.START: .* holds -2147483648 to 2147483647"):
            int32("PCOMP1.START", value)
    for value in (-1, 2**32):
        with pytest.raises(LimitError, match="holds 0 to 4294967295"):
            uint32("PCOMP1.PULSES", value)
    assert seconds("PULSE1.WIDTH", 125_000, 125_000_000) == "0.001"
    assert round(float(seconds("PULSE1.STEP", 123_456_789_012, 125_000_000)) * 125e6) == (
        123_456_789_012
    )
    with pytest.raises(LimitError, match="clock ticks do not fit"):
        seconds("PULSE1.WIDTH", 2**48, 125_000_000)


def test_replies_are_taken_apart():
    assert Reply("panda", "A?", ("OK =a=b",)).value == "a=b"
    assert Reply("panda", "A?", ("!1", "!2", ".")).items == ["1", "2"]
    with pytest.raises(ControllerError, match="expected 'OK =value'"):
        _ = Reply("panda", "A?", ("OK",)).value
    with pytest.raises(ControllerError, match="lines starting with"):
        _ = Reply("panda", "A?", ("OK =1",)).items


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ("0.0009", "0.0009", True),
        ("0.0009", "0.000900000001", True),
        ("0.0009", "0.000901", False),
        ("0.001", "1e-3", True),
        ("5.6e-08", "5.6e-08", True),
        ("100", "101", False),
        ("2147483647", "2147483646", False),
        ("Positive", "Negative", False),
        ("BITS.OUTA", "0", False),
    ],
)
def test_values_are_compared_as_the_box_means_them(expected: str, found: str, same: bool):
    assert same_value(expected, found) is same


# --- layout ---------------------------------------------------------------------------------


async def real_layout() -> Layout:
    answers = transcript()
    answers["*BITS?"] = ["!PCOMP1.OUT", "!BITS.OUTA", "."]  # abridged in the recording
    async with link(Box(answers)) as control:
        return await read_layout(control, ("PCAP", "PCOMP", "NOPE"))


async def test_layout_of_a_real_box():
    layout = await real_layout()
    assert layout.clock_hz == 125_000_000
    assert layout.blocks["INENC"] == 4
    assert layout.field("PCOMP2", "START") == "PCOMP2.START"
    assert layout.field("PCAP", "TRIG") == layout.field("PCAP1", "TRIG") == "PCAP.TRIG"
    assert layout.bit("BITS1.OUTA") == layout.bit("BITS.OUTA") == "BITS.OUTA"
    assert layout.position("COUNTER8.OUT") == "COUNTER8.OUT"


async def test_what_a_box_lacks_is_named():
    layout = await real_layout()
    with pytest.raises(ConfigurationError, match="block PCOMP3 does not exist; the box has 2"):
        layout.field("PCOMP3", "START")
    with pytest.raises(ConfigurationError, match="block FMC1 does not exist; the box has 0 of FMC"):
        layout.bit("FMC1.OUT")
    with pytest.raises(ConfigurationError, match=r"PCOMP1 has no field NOPE.*update the firmware"):
        layout.field("PCOMP1", "NOPE")
    with pytest.raises(ConfigurationError, match=r"BITS\.OUTZ is not on the bit bus"):
        layout.bit("BITS.OUTZ")


# --- settings -------------------------------------------------------------------------------


async def test_settings_are_saved_once_and_put_back_with_tables_and_captures():
    box = Box(
        {
            "A?": ["OK =1"],
            "B?": ["OK =x"],
            "*CAPTURE?": ["!INENC1.VAL Min Max", "."],
            "SEQ1.TABLE.B?": ["!AAAA", "!BBBB", "."],
            "SEQ2.TABLE.B?": ["."],
        }
    )
    async with link(box) as control:
        settings = Settings(control)
        await settings.save(["A", "B"], ["SEQ1.TABLE", "SEQ2.TABLE"])
        await settings.apply({"A": "5"})
        await settings.save(["A", "B"], ["SEQ1.TABLE", "SEQ2.TABLE"])
        steps = settings.steps()
        assert steps == (
            RestoreStep("*CAPTURE", ""),
            RestoreStep("INENC1.VAL.CAPTURE", "Min Max"),
            RestoreStep("A", "1"),
            RestoreStep("B", "x"),
            RestoreStep("SEQ1.TABLE<B", "AAAA\nBBBB"),
            RestoreStep("SEQ2.TABLE<B", ""),
        )
        box.seen.clear()
        await settings.restore(steps)
        assert box.seen == [
            "SEQ1.TABLE<", "*CAPTURE=", "INENC1.VAL.CAPTURE=Min Max", "A=1", "B=x",
            "SEQ1.TABLE<B", "AAAABBBB", "SEQ2.TABLE<",
        ]  # fmt: skip
        assert settings.steps() == ()


async def test_what_is_not_confirmed_is_not_put_back_and_stays_saved():
    box = Box({"A?": ["OK =1"], "B?": ["OK =2"], "*CAPTURE?": ["."]})
    async with link(box) as control:
        settings = Settings(control)
        await settings.save(["A", "B"], [])
        box.answers["A=1"] = ["~garbage~"]
        with pytest.raises(
            ControllerError, match=r"could not put back A=1 \(answered '~garbage~'\)"
        ):
            await settings.restore(settings.steps())
        assert settings.steps() == (RestoreStep("A", "1"),)
        with pytest.raises(ControllerError, match="'A=1' was answered '~garbage~', expected 'OK'"):
            await control.run("A=1")


async def test_everything_is_put_back_even_if_one_field_is_refused():
    box = Box()
    async with link(box) as control:
        settings = Settings(control)
        box.answers["B=2"] = ["ERR No such field"]
        steps = tuple(RestoreStep(k, v) for k, v in (("A", "1"), ("B", "2"), ("C", "3")))
        with pytest.raises(ControllerError, match=r"could not put back B=2 \(No such field\)"):
            await settings.restore(steps)
        assert box.seen == ["A=1", "B=2", "C=3"]


async def test_only_what_differs_is_written():
    box = Box()
    async with link(box) as control:
        settings = Settings(control)
        await settings.apply({"A": "1", "B": "2"})
        await settings.apply({"A": "1", "B": "3"})
        settings.forget()
        await settings.apply({"A": "1"})
        assert box.seen == ["A=1", "B=2", "B=3", "A=1"]


async def test_foreign_writes_are_told_from_our_own():
    async with link(Box()) as control:
        settings = Settings(control)
        settings.note({"PULSE1.WIDTH": "0.0008", "PCOMP1.STEP": "50"})
        settings.check_changes(["PULSE1.WIDTH=0.0008", "PCOMP2.STEP=7", "PCOMP1.STEP=50"], "")
        with pytest.raises(CaptureError, match=r"PCOMP1\.STEP was changed to '51'.* had set '50'"):
            settings.check_changes(["PCOMP1.STEP=51"], " (10.0.0.9:4000)")


def test_an_empty_table_is_written_as_such():
    assert table_request("SEQ1.TABLE", [""]) == ("SEQ1.TABLE<", "")
    assert table_request("SEQ1.TABLE", ["AAAA"]) == ("SEQ1.TABLE<B", "AAAA", "")


# --- data port ------------------------------------------------------------------------------

HEADER = (
    b'<header>\n<data arm_time="2026-11-20T05:55:48Z" start_time="2026-11-20T05:55:48Z" '
    b'missed="0" process="Raw" format="Framed" sample_bytes="4" />\n<fields>\n'
    b'<field name="A" type="int32" capture="Value" scale="1" offset="0" units="" />\n'
    b"</fields>\n</header>\n\n"
)


def frame(size: int) -> bytes:
    return b"BIN " + (size + 8).to_bytes(4, "little") + bytes(size)


@asynccontextmanager
async def data_link(serve: Serve, timeout: float = 2.0) -> AsyncIterator[DataLink]:
    async with server(serve) as port:
        data = DataLink("panda", "127.0.0.1", port, timeout)
        try:
            yield data
        finally:
            data.close()


async def everything(data: DataLink) -> list[Data]:
    """Whatever comes until the connection is closed."""
    events: list[Data] = []
    with suppress(ConnectionLostError):
        while True:
            events += await data.receive()
    return events


def sending(*pieces: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"XML FRAMED RAW\n"
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return serve


async def test_everything_sent_before_closing_is_received():
    async with data_link(sending(b"OK\n", HEADER, frame(8), frame(4))) as data:
        await data.open()
        events = await everything(data)
        with pytest.raises(ConnectionLostError, match="was closed"):
            await data.receive()
        assert isinstance(events[0], StartData)
        assert [len(e.data) for e in events[1:] if isinstance(e, FrameData)] == [2, 1]


@pytest.mark.parametrize(
    "nonsense", [b"OK\n" + HEADER + b"XXX 12345678", b"OK\n<header>\n</header>\n"]
)
async def test_nonsense_among_rows_is_named(nonsense: bytes):
    async with data_link(sending(nonsense)) as data:
        await data.open()
        with pytest.raises(ControllerError, match="sent nonsense"):
            await everything(data)


@pytest.mark.parametrize("answer", [b"ERR Invalid data capture option\n", b"hello\n"])
async def test_another_answer_than_ok_is_named(answer: bytes):
    async with data_link(sending(answer)) as data:
        with pytest.raises(ControllerError, match=r"data port 127.*sent nonsense|closed"):
            await data.open()


async def test_a_silent_data_port_is_noticed():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with data_link(serve, timeout=0.05) as data:
        with pytest.raises(WatchdogError, match="did not accept the format within"):
            await data.open()


async def test_a_data_connection_given_up_while_it_is_made_is_closed():
    """Arming is stopped: the box is not to find a reader that reads nothing."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        with suppress(ConnectionResetError):
            await reader.read()
        gone.set()

    async with data_link(serve) as data:
        opening = asyncio.create_task(data.open())
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(2):
            await gone.wait()


async def test_intake_is_bounded():
    """A reader that is late makes the box wait, not this process grow."""
    sent = 0
    chunk = frame(1 << 20)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readline()
        writer.write(b"OK\n" + HEADER)
        while sent < 4 * LIMIT:
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)

    async with data_link(serve) as data:
        await data.open()
        before = -1
        while sent > before:
            before = sent
            await asyncio.sleep(0.05)
        assert LIMIT < sent < 2 * LIMIT
        events = await everything(data)
        received = sum(event.data.nbytes for event in events if isinstance(event, FrameData))
        assert received >= 4 * LIMIT
