"""The simulated camera by itself: triggers, dead time, faults, files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from flyscan.errors import ConfigurationError
from flyscan.flight import ManualClock
from flyscan_sim.areadetector import Camera, CameraSpec
from flyscan_sim.areadetector._writer import HdfFile, has_directory
from flyscan_sim.panda import PandaServer, PandaWiring
from flyscan_sim.world import FaultScript, nanoprobe_world

SPEC = CameraSpec(dead_time=0.002, readout=0.003)


def camera(edges, *faults):
    script = FaultScript(ManualClock(), faults)
    return Camera(SPEC, script, lambda start, end: [t for t in edges if start < t <= end])


def arm(box, frames=None, *, external=True, now=0.0):
    box.arm(now, exposure=0.005, period=0.0, frames=frames, external=external)


def starts(frames):
    return [round(frame.start, 6) for frame in frames]


def test_a_frame_is_delivered_after_exposure_and_readout():
    box = camera([1.0])
    arm(box)
    assert box.advance(1.0079) == []
    (frame,) = box.advance(1.0081)
    assert (frame.start, frame.exposure, frame.ready) == pytest.approx((1.0, 0.005, 1.008))
    assert box.advance(2.0) == []


def test_triggers_during_exposure_and_dead_time_are_ignored():
    box = camera([1.0, 1.004, 1.0069, 1.0071, 1.0142])
    arm(box)
    assert starts(box.advance(2.0)) == [1.0, 1.0071, 1.0142]


def test_looking_often_or_once_makes_no_difference():
    edges = np.cumsum(np.random.default_rng(1).uniform(0.001, 0.02, 300)).tolist()
    once, often = camera(edges), camera(edges)
    arm(once)
    arm(often)
    seen = [frame for now in np.arange(0, 5, 0.0013) for frame in often.advance(float(now))]
    assert seen == once.advance(5.0)
    assert len(seen) > 100


def test_it_stops_after_the_frames_wanted_and_sees_nothing_unarmed():
    box = camera([0.1, 0.2, 0.3, 0.4])
    assert box.advance(0.15) == []
    arm(box, frames=2, now=0.15)
    assert starts(box.advance(1.0)) == [0.2, 0.3]
    assert not box.acquiring


def test_it_triggers_itself_no_faster_than_it_can():
    box = camera([])
    arm(box, frames=3, external=False)
    assert starts(box.advance(1.0)) == [0.0, 0.007, 0.014]


def test_dropped_extra_and_late_frames_are_those_of_the_script():
    edges = [0.1, 0.2, 0.3, 0.4, 0.5]
    box = camera(
        edges,
        {"kind": "dropped_frame", "at": 1},
        {"kind": "extra_frame", "at": 2},
        {"kind": "late_frame", "at": 3, "delay": 0.25},
    )
    arm(box)
    assert starts(box.advance(0.45)) == [0.1, 0.3, 0.3]
    assert box.advance(0.65) == []
    assert starts(box.advance(0.66)) == [0.4, 0.5]


def test_files_are_readable_while_written(tmp_path):
    path = str(tmp_path / "frames.h5")
    file = HdfFile(path, (2, 3), chunk=4)
    images = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    file.append(images, [7, 8], [631152001.25, 631152002.5])
    file.flush()
    with h5py.File(path, "r", swmr=True) as reader:
        np.testing.assert_array_equal(reader["/entry/data/data"], images)
        attributes = reader["/entry/instrument/NDAttributes"]
        assert attributes["NDArrayUniqueId"][()].tolist() == [7, 8]
        assert attributes["NDArrayTimeStamp"][()].tolist() == [1.25, 2.5]
        assert attributes["NDArrayEpicsTSnSec"][()].tolist() == [250_000_000, 500_000_000]
    file.close()


def test_directories_are_made_as_deep_as_allowed(tmp_path):
    assert has_directory(str(tmp_path), 0)
    assert not has_directory(f"{tmp_path}/a/b/", 0)
    assert not has_directory(f"{tmp_path}/a/b/", -1)
    assert has_directory(f"{tmp_path}/a/b/", -2)
    assert (tmp_path / "a" / "b").is_dir()


async def test_cables_from_the_panda_carry_its_edges_once():
    clock = ManualClock()
    server = PandaServer(nanoprobe_world(clock), PandaWiring(outputs=("TTLOUT2",)))
    fields = server._device.fields
    for field, value in (("PERIOD", "0.01"), ("ENABLE", "ONE")):
        fields["CLOCK1"][field].assign(value)
    await clock.advance(0.0575)
    assert server.rising_edges("TTLOUT2", 0.0, clock.now()).size == 0
    fields["TTLOUT2"]["VAL"].assign("CLOCK1.OUT")
    begin = clock.now()
    await clock.advance(0.1)
    middle = begin + 0.042
    first = server.rising_edges("TTLOUT2", begin, middle)
    rest = server.rising_edges("TTLOUT2", middle, clock.now())
    assert first.size == 4
    assert first.max() <= middle < rest.min()
    np.testing.assert_allclose(np.diff(np.concatenate([first, rest])), 0.01)
    assert first.size + rest.size == 10
    assert server.rising_edges("TTLOUT2", begin, clock.now()).size == 0


def test_cables_need_a_plug():
    with pytest.raises(
        ConfigurationError, match=r"expected a cable at one of TTLOUT1, .* TTLOUT99"
    ):
        PandaServer(nanoprobe_world(ManualClock()), PandaWiring(outputs=("TTLOUT99",)))
