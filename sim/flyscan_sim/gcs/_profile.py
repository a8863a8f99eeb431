"""What a controller model can do, as data: identity, axes, commands, memories.

Command sets and figures: E-727 user manual E727T0005, C-863.12 manual MS249E and what the
C-885's own help lists. A command missing from `Profile.commands` is refused with error 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["C863", "C885", "E727", "Profile", "RecorderLimits", "WaveLimits"]


@dataclass(frozen=True)
class WaveLimits:
    """Memory of a wave generator.

    Args:
        generators: one per axis, numbered from 1.
        tables: wave tables, numbered from 1.
        points: points shared by all tables.
    """

    generators: int
    tables: int
    points: int


@dataclass(frozen=True)
class RecorderLimits:
    """Memory of a data recorder.

    Args:
        tables: record tables, numbered from 1.
        points: points per table.
        rate: servo cycles per point after power-on.
        options: record option number to description.
        wave_start: whether starting the wave generator always triggers a recording.
        defaults: record option of each table after power-on; the last one repeats.
    """

    tables: int
    points: int
    rate: int
    options: Mapping[int, str]
    wave_start: bool
    defaults: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """One controller model.

    Args:
        name: short name, used in recorded data.
        idn: answer to ``*IDN?``.
        axis_ids: identifiers of all axes, in the order of ``SAI? ALL``.
        commands: mnemonic to title as listed by ``HLP?``.
        incremental: whether position is unknown after power-on until a reference move.
        reference_needs_servo: whether ``FRF`` is refused (error 5) with servo off.
        reference_at: place of the reference switch as a fraction of the travel.
        velocity_in_flight: whether ``VEL`` (and ``ACC``) change a motion that is under way;
            otherwise they hold from the next move on.
        settle: seconds within the window before ``ONT?`` answers 1.
        window: half width of the on-target window in encoder counts.
        error_limit: position error in encoder counts at which the servo switches itself off
            with motion error -1024, or None where the box does not supervise it.
        servo_cycle: seconds.
        trigger_lines: digital output lines that ``CTO`` can configure.
        wave: wave generator, if there is one.
        recorder: data recorder, if there is one.
    """

    name: str
    idn: str
    axis_ids: tuple[str, ...]
    commands: Mapping[str, str]
    incremental: bool
    reference_needs_servo: bool = False
    reference_at: float = 0.5
    velocity_in_flight: bool = False
    settle: float = 0.005
    window: float = 20.0
    error_limit: float | None = None
    servo_cycle: float = 50e-6
    trigger_lines: int = 0
    wave: WaveLimits | None = None
    recorder: RecorderLimits | None = None


_COMMON = {
    "#5": "Request Motion Status",
    "#7": "Request Controller Ready Status",
    "#24": "Stop All Axes",
    "*IDN?": "Get Device Identification",
    "CST?": "Get Stage Type Of Selected Axis",
    "CSV?": "Get Current Syntax Version",
    "ERR?": "Get Error Number",
    "HLP?": "Get List Of Available Commands",
    "HPA?": "Get List Of Available Parameters",
    "INI": "Initialize Axis",
    "MOV": "Set Target Position",
    "MOV?": "Get Target Position",
    "MVR": "Set Target Relative To Current Position",
    "ONT?": "Get On Target State",
    "POS?": "Get Real Position",
    "SAI?": "Get List Of Current Axis Identifiers",
    "SPA": "Set Volatile Memory Parameters",
    "SPA?": "Get Volatile Memory Parameters",
    "STP": "Stop All Axes",
    "SVO": "Set Servo Mode",
    "SVO?": "Get Servo Mode",
    "TMN?": "Get Minimum Commandable Position",
    "TMX?": "Get Maximum Commandable Position",
    "VEL": "Set Closed-Loop Velocity",
    "VEL?": "Get Closed-Loop Velocity",
    "VER?": "Get Versions Of Firmware And Drivers",
}
_REFERENCE = {
    "FRF": "Fast Reference Move To Reference Switch",
    "FRF?": "Get Referencing Result",
    "RON": "Set Reference Mode",
    "RON?": "Get Reference Mode",
}
_RECORDER = {
    "DRC": "Set Data Recorder Configuration",
    "DRC?": "Get Data Recorder Configuration",
    "DRL?": "Get Number Of Recorded Points",
    "DRR?": "Get Recorded Data Values",
    "DRT": "Set Data Recorder Trigger Source",
    "DRT?": "Get Data Recorder Trigger Source",
    "HDR?": "Get All Data Recorder Options",
    "RTR": "Set Record Table Rate",
    "RTR?": "Get Record Table Rate",
    "STE": "Start Step And Response Measurement",
    "TNR?": "Get Number Of Record Tables",
}
_WAVE = {
    "#9": "Get Wave Generator Status",
    "GWD?": "Get Wave Table Data",
    "WAV": "Set Waveform Definition",
    "WAV?": "Get Waveform Definition",
    "WCL": "Clear Wave Table Data",
    "WGC": "Set Number Of Wave Generator Cycles",
    "WGC?": "Get Number Of Wave Generator Cycles",
    "WGO": "Set Wave Generator Start/Stop Mode",
    "WGO?": "Get Wave Generator Start/Stop Mode",
    "WGR": "Starts Recording In Sync With Wave Generator",
    "WOS": "Set Wave Generator Output Offset",
    "WOS?": "Get Wave Generator Output Offset",
    "WSL": "Set Connection Of Wave Table To Wave Generator",
    "WSL?": "Get Connection Of Wave Table To Wave Generator",
    "WTR": "Set Wave Generator Table Rate",
    "WTR?": "Get Wave Generator Table Rate",
}
_TRIGGER = {
    "CTO": "Set Configuration Of Trigger Output",
    "CTO?": "Get Configuration Of Trigger Output",
    "TRI": "Set Trigger Input State",
    "TRI?": "Get Trigger Input State",
    "TRO": "Set Trigger Output State",
    "TRO?": "Get Trigger Output State",
    "TWC": "Clear All Wave Related Triggers",
    "TWS": "Set Trigger Line Action To Waveform Point",
    "TWS?": "Get Trigger Line Action At Waveform Point",
}
_MOTOR = {
    "#4": "Request Status Register",
    "ACC": "Set Closed-Loop Acceleration",
    "ACC?": "Get Closed-Loop Acceleration",
    "DEC": "Set Closed-Loop Deceleration",
    "DEC?": "Get Closed-Loop Deceleration",
    "HLT": "Halt Motion Smoothly",
    "POS": "Set Real Position",
    "SRG?": "Query Status Register Value",
}
_POSITION_OPTIONS = {
    0: "Nothing is recorded",
    1: "Target Position of axis",
    2: "Current Position of axis",
    3: "Position Error of axis",
}

E727 = Profile(
    name="E-727.3CDA",
    idn="(c)2015 Physik Instrumente (PI) GmbH & Co. KG, E-727.3CDA, 0116000001, 13.21.00.09",
    axis_ids=("1", "2", "3"),
    commands=_COMMON | _RECORDER | _WAVE | _TRIGGER,
    incremental=False,
    trigger_lines=3,
    wave=WaveLimits(generators=3, tables=4, points=262144),
    recorder=RecorderLimits(
        tables=8,
        points=32768,
        rate=1,
        options=_POSITION_OPTIONS,
        wave_start=True,
        defaults=(2,),
    ),
)
C863 = Profile(
    name="C-863.12",
    idn="(c)2021 Physik Instrumente (PI) GmbH & Co. KG, C-863.12, 0021550017, 1.2.1.0",
    axis_ids=("1",),
    commands=_COMMON | _REFERENCE | _RECORDER | _MOTOR,
    incremental=True,
    reference_needs_servo=True,
    velocity_in_flight=True,
    window=10.0,
    settle=0.01,
    error_limit=2000.0,
    recorder=RecorderLimits(
        tables=4,
        points=1024,
        rate=10,
        options=_POSITION_OPTIONS
        | {70: "Commanded Velocity of axis", 72: "Actual Velocity of axis"},
        wave_start=False,
        defaults=(1, 2, 3, 70),
    ),
)
C885 = Profile(
    name="C-885.M1",
    idn="(c)2015 Physik Instrumente(PI) Karlsruhe, C-885.M1 TCP-IP Master,0,1.0.0.1",
    axis_ids=tuple(str(slot) for slot in range(1, 24, 2)),
    commands=_COMMON | _REFERENCE,
    incremental=True,
    window=10.0,
    settle=0.01,
    error_limit=2000.0,
)
