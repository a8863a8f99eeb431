"""Connection, channels, checks and alignment of a capture."""

from __future__ import annotations

import numpy as np
import pytest
from scanspec.specs import Linspace  # pyright: ignore[reportMissingTypeStubs]

from ...errors import BusyError, ConfigurationError, LimitError, NotReadyError
from ...flight import Path, Trigger
from .._bench import CaptureBench
from ._capture_base import CaptureTests, kind, line, same_settings, supports
from ._flying import Flying

__all__ = ["CaptureBasics"]


class CaptureBasics(CaptureTests):
    """What a capture must do before it flies."""

    async def test_connecting_is_idempotent_and_harmless(self, bench: CaptureBench) -> None:
        settings = await bench.settings()
        capture = bench.fresh()
        await bench.timely(capture.connect())
        await bench.timely(capture.connect())
        await bench.timely(bench.fresh().connect())
        await same_settings(bench, settings, "connect()")
        assert capture.restore_steps() == ()
        assert capture.end_reason is None

    async def test_it_can_be_closed_at_any_time_and_connected_again(
        self, bench: CaptureBench
    ) -> None:
        capture = bench.fresh()
        await bench.timely(capture.close())
        for _ in range(2):
            await bench.timely(capture.connect())
            assert capture.channels()
            await bench.timely(capture.close())
            await bench.timely(capture.close())
            await bench.timely(capture.stop())

    async def test_channels_and_capabilities_are_sound(self, flight: Flying) -> None:
        channels, capable = flight.capture.channels(), flight.capture.capabilities
        names = [channel.name for channel in channels]
        assert len(set(names)) == len(names) > 0, f"channels called alike: {names}"
        for channel in channels:
            assert np.dtype(channel.dtype).itemsize > 0
            assert all(length > 0 for length in channel.shape)
            assert channel.source, f"channel {channel.name} does not say where it comes from"
        axes = [channel.axis for channel in channels if channel.axis is not None]
        assert len(set(axes)) == len(axes), f"an axis has two channels: {axes}"
        assert capable.min_period > 0
        assert capable.block_period > 0
        assert capable.position or capable.time
        assert flight.bench.period >= capable.min_period

    async def test_a_sound_path_passes_the_checks_which_change_nothing(
        self, flight: Flying
    ) -> None:
        settings = await flight.bench.settings()
        for path in (line(flight), flight.bench.raster(kind(flight))):
            assert all(isinstance(text, str) for text in flight.capture.validate(path))
            await flight.bench.timely(flight.capture.check(path))
        await same_settings(flight.bench, settings, "check()")

    async def test_a_path_too_fast_for_the_triggers_is_refused(self, flight: Flying) -> None:
        bench = flight.bench
        spec = Linspace.bounded(bench.fast, *bench.spans[bench.fast], bench.points)
        period = flight.capture.capabilities.min_period / 2
        with pytest.raises(LimitError):
            flight.capture.validate(Path.from_spec(spec, trigger=kind(flight), period=period))

    async def test_positions_of_an_unknown_axis_are_refused(self, flight: Flying) -> None:
        spec = Linspace.bounded(f"not_{flight.bench.fast}", 0.0, 1.0, 10)
        with pytest.raises(ConfigurationError):
            flight.capture.validate(Path.from_spec(spec, period=flight.bench.period))

    @pytest.mark.parametrize("trigger", list(Trigger))
    async def test_a_kind_of_trigger_it_lacks_is_refused(
        self, flight: Flying, trigger: Trigger
    ) -> None:
        path = flight.bench.line(trigger)
        if supports(flight, trigger):
            flight.capture.validate(path)
            return
        with pytest.raises(ConfigurationError):
            flight.capture.validate(path)

    async def test_an_armed_box_is_busy_for_others(self, flight: Flying) -> None:
        bench, path = flight.bench, line(flight)
        other = bench.fresh()
        await bench.timely(other.connect())
        await flight.arm(path)
        with pytest.raises(BusyError):
            await bench.timely(other.check(path))
        await flight.disarm()
        await bench.timely(flight.capture.restore())
        await bench.timely(flight.capture.close())
        await bench.timely(other.check(path))

    async def test_encoders_are_verified_by_a_move(self, flight: Flying) -> None:
        bench, axis = flight.bench, flight.bench.fast
        readback = flight.readback(axis)
        await bench.timely(bench.motion.move_to(axis, bench.spans[axis][0]))
        distance = 5 * bench.step

        async def move(position: float) -> None:
            await bench.motion.move_to(axis, position)

        async def mirrored() -> float:
            return 2 * bench.spans[axis][0] - await readback()

        if all(channel.axis != axis for channel in flight.capture.channels()):
            with pytest.raises(ConfigurationError):
                await bench.timely(flight.capture.align(axis, readback, tolerance=bench.tolerance))
            return
        given = {"tolerance": bench.tolerance, "distance": distance}
        off = await bench.timely(flight.capture.align(axis, readback, move=move, **given))
        assert abs(off) <= bench.tolerance
        rest = await bench.check_rest(bench.motion, "align()")
        bench.check_at(rest, {axis: bench.spans[axis][0]}, "where it was aligned")
        with pytest.raises((ConfigurationError, NotReadyError)):
            await bench.timely(flight.capture.align(axis, mirrored, move=move, **given))

    async def test_an_axis_without_encoder_cannot_be_aligned(self, flight: Flying) -> None:
        async def readback() -> float:
            return 0.0

        with pytest.raises(ConfigurationError):
            await flight.bench.timely(
                flight.capture.align("no such axis", readback, tolerance=flight.bench.tolerance)
            )
