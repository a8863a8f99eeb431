"""PI's own client, unmodified, accepts the simulated controllers."""

import asyncio
import time
from collections.abc import Callable

import pytest

from flyscan.flight import RealClock, ScaledClock
from flyscan_sim.gcs import C863, C885, E727, GcsServer, Profile
from tests.sim.gcs_bench import make_world, stages, wired

pipython = pytest.importorskip("pipython")
pisocket = pytest.importorskip("pipython.pidevice.interfaces.pisocket")
pitools = pytest.importorskip("pipython.pitools").pitools
datarectools = pytest.importorskip("pipython.datarectools")
gcserror = pytest.importorskip("pipython.pidevice.gcserror")


class Socket(pisocket.PISocket):
    """PI's gateway, closed once only: it is closed again when its device is garbage collected."""

    def close(self) -> None:
        if self.connected:
            super().close()


async def drive(profile: Profile, work: Callable, clock=None, axes=None) -> None:
    """Run blocking `work` with a connected device in a thread; the server lives on this loop."""
    world = make_world(clock or RealClock(), stages(profile))
    server = GcsServer(world, profile, axes or wired(profile))
    await server.start()

    def session() -> None:
        with pipython.GCSDevice(gateway=Socket("127.0.0.1", server.port)) as device:
            work(device)

    try:
        await asyncio.to_thread(session)
    finally:
        await server.stop()


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, "never happened"
        time.sleep(0.01)


async def test_piezo_startup_moves_and_refusals():
    def work(pi) -> None:
        assert pi.devname == "E-727.3CDA"
        pitools.startup(pi, servostates=True)
        assert pi.axes == ["1", "2", "3"]
        assert all(pi.qSVO().values())
        pi.VEL("1", 500)
        pi.MOV({"1": 10, "2": 20})
        pitools.waitontarget(pi, timeout=10)
        assert pi.qPOS("1")["1"] == pytest.approx(10, abs=0.02)
        assert (pi.qTMN("1")["1"], pi.qTMX("1")["1"]) == (0, 100)
        with pytest.raises(pipython.GCSError) as refused:
            pi.MOV("1", 1000)
        assert refused.value == gcserror.E7_PI_CNTR_POS_OUT_OF_LIMITS
        with pytest.raises(pipython.GCSError) as refused:
            pi.STP()
        assert refused.value == gcserror.E10_PI_CNTR_STOP

    await drive(E727, work)


async def test_piezo_waves_and_recorder():
    def work(pi) -> None:
        pi.timeout = 500  # ms; an unknown parameter is asked for and answered by silence
        pitools.startup(pi)
        pi.WAV_LIN(1, 0, 1000, "X", 50, 10, 5, 1000)
        pi.WAV_RAMP(2, 0, 1000, "X", 500, 50, 10, 5, 1000)
        pitools.writewavepoints(pi, 3, [n / 10 for n in range(40)], 10)
        assert [pi.qWAV()[n][1] for n in (1, 2, 3)] == [1000, 1000, 40]
        pi.WSL([1, 2], [1, 2])
        pi.WGC([1, 2], [1, 1])
        pi.MOV({"1": 5, "2": 5})
        pitools.waitontarget(pi, ["1", "2"], timeout=10)
        pi.CTO([1, 1], [2, 3], [1, 4])
        pi.TWS([1, 1], [1, 100], [1, 1])
        pi.TRO(1, True)
        with datarectools.Datarecorder(pi) as recorder:
            recorder.numvalues = 500
            recorder.samplefreq = 5000
            recorder.options = datarectools.RecordOptions.ACTUAL_POSITION_2
            recorder.sources = ["1", "2"]
            recorder.trigsources = datarectools.TriggerSources.WAVE_GENERATOR_9
            recorder.arm()
            pi.WGO([1, 2], [1, 1])
            assert pi.IsGeneratorRunning([1, 2]) == {1: True, 2: True}
            header, data = recorder.getdata()
        assert header["SAMPLE_TIME"] == pytest.approx(2e-4)
        assert [len(column) for column in data] == [500, 500]
        assert data[0][-1] == pytest.approx(15, abs=0.05)
        assert max(data[1]) == pytest.approx(15, abs=0.5)
        until(lambda: not any(pi.IsGeneratorRunning([1, 2]).values()))

    await drive(E727, work)


async def test_motor_reference_move_halt_and_velocity_in_flight():
    def work(pi) -> None:
        pitools.startup(pi, refmodes="FRF")
        assert pi.qFRF("1")["1"]
        pi.VEL("1", 2)
        pi.MOV("1", 20)
        pi.VEL("1", 40)
        pitools.waitontarget(pi, "1", timeout=5)
        assert pi.qPOS("1")["1"] == pytest.approx(20, abs=1e-2)
        pi.MOV("1", -20)
        with pytest.raises(pipython.GCSError) as refused:
            pi.HLT("1")
        assert refused.value == gcserror.E10_PI_CNTR_STOP
        until(lambda: not pi.IsMoving("1")["1"])
        assert pi.qPOS("1")["1"] > 0
        assert pi.qTNR() == 4

    await drive(C863, work)


async def test_stepper_reference_and_moves_of_several_axes():
    def work(pi) -> None:
        pitools.startup(pi, refmodes="FRF")
        pi.MOV({"1": 12, "3": 12.5, "23": 14})
        assert pi.IsMoving("23")["23"]
        pitools.waitontarget(pi, ["1", "3", "23"], timeout=10)
        assert pi.qPOS("23")["23"] == pytest.approx(14, abs=1e-3)
        with pytest.raises(pipython.GCSError) as refused:
            pi.MOV("5", 30)
        assert refused.value == gcserror.E7_PI_CNTR_POS_OUT_OF_LIMITS

    await drive(C885, work, ScaledClock(50), {n: f"stage{n}" for n in ("1", "3", "5", "23")})
