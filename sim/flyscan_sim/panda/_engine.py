"""The simulated FPGA: all blocks, stepped from the last asked time to the present.

Time is the world's clock in ticks of 8 ns. Nothing happens by itself: whoever looks first
advances the blocks up to now (:meth:`Engine.advance`). A register write takes effect at the
present tick and is followed by a microsecond in which it goes through the graph, as no two
writes of a client ever meet in the same microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ._blocks import Block, Step
from ._bus_fields import BitMux, PosMux
from ._capture import CapturePlan
from ._counter import Counter, Inenc
from ._fields import Field
from ._layout import Layout
from ._logic import Bits, Calc, Clock, Div, Filter, Lut, Srgate
from ._pcap import Batch, Pcap, PcapState
from ._pcomp import Pcomp
from ._pgen import Pgen
from ._positions import Counts, Position
from ._pulse import Pulse
from ._seq import Seq, SeqState
from ._slice import InstanceInputs, Line, Slice, Train
from ._tables import Words
from ._text import CommandError
from ._waves import EMPTY, Span, Ticks, Wave

__all__ = ["TICKS_PER_S", "Engine"]

TICKS_PER_S = 125_000_000
SETTLE_TICKS = 125
"""Time that passes after a register write, 1 us."""

SLICE_TICKS = TICKS_PER_S // 10
IDLE_SLICE_TICKS = TICKS_PER_S * 5
DRIVER_BUFFERS = 8
DRIVER_ERROR = "Unexpected error at hardware.c:510: {}"
MAX_ROUNDS = 12
"""Repetitions of a slice with loops before a shorter one is tried."""

SHORTEN = 16
"""How much shorter than wanted a slice may become."""


class Engine:
    """Blocks and wires of one box.

    Args:
        layout: blocks and buses.
        encoders: counts of the encoder at an INENC instance, as a function of seconds.
        trains: pulses so far at a TTLIN instance, as a function of seconds.
        spoilt_triggers: numbers of the PCAP triggers that get lost or doubled, by kind of fault.
    """

    def __init__(
        self,
        layout: Layout,
        encoders: Mapping[str, Callable[[Any], Any]],
        trains: Mapping[str, Callable[[Any], Any]],
        spoilt_triggers: Callable[[str], tuple[int, ...]] = lambda kind: (),
        start: int = 0,
    ) -> None:
        self.layout = layout
        self.spoilt_triggers = spoilt_triggers
        self.encoders = {name: _in_ticks(counts) for name, counts in encoders.items()}
        self.trains: dict[str, Train] = {
            f"{name}.VAL": _in_ticks(pulses) for name, pulses in trains.items()
        }
        self.fields: Mapping[str, Mapping[str, Field]] = {}
        self.blocks: dict[str, Block] = {}
        self.states: dict[str, Any] = {}
        self.tick = start
        self.batches: list[Batch] = []
        self._toggled: set[str] = set()
        self._positions: dict[str, Position] = {}
        self.asleep: set[str] = set()
        self._pcap = Pcap()
        self.bits: dict[str, Line] = {name: Line() for name in layout.bit_bus if name}
        self.inputs: dict[tuple[str, str], Line] = {}
        self._cables: dict[str, list[Ticks]] = {}
        self._make_blocks()

    def _make_blocks(self) -> None:
        models: dict[str, Callable[[], Block]] = {
            "BITS": Bits,
            "CALC": Calc,
            "CLOCK": Clock,
            "COUNTER": Counter,
            "DIV": Div,
            "FILTER": Filter,
            "INENC": Inenc,
            "LUT": Lut,
            "PCOMP": Pcomp,
            "PGEN": Pgen,
            "PULSE": Pulse,
            "SEQ": Seq,
            "SRGATE": Srgate,
        }
        for name, spec in self.layout.blocks.items():
            for instance in spec.instances():
                for field in spec.fields.values():
                    if field.kind == "bit_mux":
                        self.inputs[instance, field.name] = Line()
                if name == "PCAP":
                    self.blocks[instance] = self._pcap
                elif name in models:
                    self.blocks[instance] = models[name]()
        self.states = {name: block.initial() for name, block in self.blocks.items()}

    # Time

    def advance(self, seconds: float) -> None:
        """Step everything up to `seconds` of the world's clock."""
        self.advance_to(int(seconds * TICKS_PER_S))

    def advance_to(self, tick: int) -> None:
        """Step everything up to `tick`."""
        while self.tick < tick:
            self._step(min(tick, self.tick + self._slice_length()))

    def _slice_length(self) -> int:
        active = (getattr(state, "active", False) for state in self.states.values())
        busy = self.pcap.armed or any(active)
        return SLICE_TICKS if busy else IDLE_SLICE_TICKS

    def _step(self, end: int) -> None:
        """One slice, in shorter ones if its loops do not settle in the whole.

        A loop that swings faster than that (a ring oscillator) is taken as its last repetition
        gives it: such wiring has no use, and must not stop the box.
        """
        length = end - self.tick
        shortest = max(length // SHORTEN, 1)
        while self.tick < end:
            part = Span(self.tick, min(end, self.tick + length))
            slice_, settled = self._attempt(part)
            if settled or part.end - part.start <= shortest:
                self._commit(slice_)
            else:
                length = (length + 1) // 2

    def _attempt(self, span: Span) -> tuple[Slice, bool]:
        assumed: dict[str, Wave] = {}
        slice_ = Slice(self, span, assumed)
        wrong = slice_.evaluate()
        for _ in range(MAX_ROUNDS):
            if not wrong:
                break
            assumed = {**assumed, **wrong}
            slice_ = Slice(self, span, assumed)
            wrong = slice_.evaluate()
        return slice_, not wrong

    def _commit(self, slice_: Slice) -> None:
        for instance, step in slice_.steps.items():
            self.states[instance] = step.state
            for name, position in step.positions.items():
                self._positions[f"{instance}.{name}"] = position
            if step.batch is not None:
                self.batches.append(step.batch)
            if self._at_rest(instance, step, slice_):
                self.asleep.add(instance)
        for output, edges in self._cables.items():
            edges.append(slice_.input(output, "VAL").rising)
        self._toggled.update(label for label, wave in slice_.waves.items() if wave.edges.size)
        self.bits.update(slice_.bits)
        self.inputs.update(slice_.inputs)
        self.tick = slice_.span.end

    def _at_rest(self, instance: str, step: Step, slice_: Slice) -> bool:
        """Whether a block can do nothing before something is written to it.

        All its inputs are at ZERO, and its outputs have come to rest.
        """
        if instance == "PCAP" or instance in self.encoders:
            return False
        muxes = (f for f in self.fields[instance].values() if isinstance(f, BitMux | PosMux))
        labels = [f"{instance}.{name}" for name in step.bits]
        inputs = (slice_.inputs.get((instance, name)) for name in self.fields[instance])
        return (
            all(mux.source == "ZERO" for mux in muxes)
            and not any(slice_.waves[label].edges.size for label in labels)
            and not any(slice_.bits[label].pending.size for label in labels)
            and not any(line.level or line.pending.size for line in inputs if line is not None)
        )

    def plug_in(self, output: str) -> None:
        """Remember the rising edges of a TTLOUT from now on."""
        self._cables[output] = []

    def take_edges(self, output: str) -> Ticks:
        """Rising edges of a TTLOUT that is plugged in, since the last call."""
        edges, self._cables[output] = self._cables[output], []
        return np.concatenate([EMPTY, *edges])

    def held(self, label: str) -> int:
        """Value of a position at the present tick."""
        position = self._positions.get(label)
        return 0 if position is None else position.value(self.tick)

    # Experiments

    @property
    def pcap(self) -> PcapState:
        return self.states["PCAP"]

    def arm(self, plan: CapturePlan) -> None:
        """Arm PCAP for samples of `plan`."""
        self.states["PCAP"] = self._pcap.arm(self.pcap, plan)
        self.advance_to(self.tick + SETTLE_TICKS)

    def abort(self, completion: str) -> None:
        """End the experiment now."""
        self.states["PCAP"] = self._pcap.abort(self.pcap, self.tick, completion)
        self.advance_to(self.tick + SETTLE_TICKS)

    # What the server reads and writes

    def register(self, block: str, field: str) -> int:
        if block in self.blocks:
            return self.blocks[block].register(self.states[block], field)
        return self.fields[block][field].spec.default

    def bit(self, index: int) -> bool:
        return self.bits[self.layout.bit_bus[index]].level

    def toggled(self, index: int) -> bool:
        label = self.layout.bit_bus[index]
        toggled = label in self._toggled
        self._toggled.discard(label)
        return toggled

    def position(self, index: int) -> int:
        return self.held(self.layout.position_bus[index])

    def written(self, block: str, field: str) -> None:
        self.asleep.discard(block)
        if block in self.blocks:
            inputs = InstanceInputs(Slice(self, Span(self.tick, self.tick), {}), block)
            self.states[block] = self.blocks[block].written(self.states[block], field, inputs)
        self.advance_to(self.tick + SETTLE_TICKS)

    # Tables

    def queued_words(self, block: str) -> int:
        state = self.states[block]
        return 4 * sum(state.source.queued()) if isinstance(state, SeqState) else 0

    def reset_table(self, block: str) -> None:
        self.asleep.discard(block)
        self.states[block] = self._tabled(block).reset(self.states[block])
        self.advance_to(self.tick + SETTLE_TICKS)

    def load_table(self, block: str, words: Words, *, streaming: bool, last: bool) -> None:
        """Give a table to a block, as the driver does.

        Raises:
            CommandError: the block has given up streaming, or all buffers are in use.
        """
        state = self.states[block]
        if streaming and isinstance(state, SeqState):
            if state.broken:
                raise CommandError(DRIVER_ERROR.format("(32) Broken pipe"))
            if len(state.source.queued()) >= DRIVER_BUFFERS:
                raise CommandError(DRIVER_ERROR.format("(12) Cannot allocate memory"))
        self.asleep.discard(block)
        model: Any = self._tabled(block)
        self.states[block] = model.load(state, words, streaming=streaming, last=last)
        self.advance_to(self.tick + SETTLE_TICKS)

    def _tabled(self, block: str) -> Seq | Pgen:
        model = self.blocks[block]
        if not isinstance(model, Seq | Pgen):
            raise CommandError("Field is not a table")
        return model


def _in_ticks(function: Callable[[Any], Any]) -> Callable[[Ticks], Counts]:
    return lambda ticks: np.asarray(function(ticks / TICKS_PER_S), np.int64)
