"""The parts of `pandablocks` in use: its sans-IO connections and what they take and give."""

from pandablocks.commands import (  # pyright: ignore[reportMissingTypeStubs]
    CommandError,
    Raw,
)
from pandablocks.connections import (  # pyright: ignore[reportMissingTypeStubs]
    ControlConnection,
    DataConnection,
    NoContextAvailableError,
)
from pandablocks.responses import (  # pyright: ignore[reportMissingTypeStubs]
    Data,
    EndData,
    FieldCapture,
    FrameData,
    ReadyData,
    StartData,
)
from pandablocks.responses import (  # pyright: ignore[reportMissingTypeStubs]
    EndReason as PandaEnd,
)

__all__ = [
    "CommandError",
    "ControlConnection",
    "Data",
    "DataConnection",
    "EndData",
    "FieldCapture",
    "FrameData",
    "NoContextAvailableError",
    "PandaEnd",
    "Raw",
    "ReadyData",
    "StartData",
]
