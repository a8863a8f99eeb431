"""PandABox capture: position and time triggers, encoders, counters, rows at full rate."""

from ._capture import PandaCapture
from ._config import Blocks, ChannelSpec, TriggerChoice

__all__ = ["Blocks", "ChannelSpec", "PandaCapture", "TriggerChoice"]
