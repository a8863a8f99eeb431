"""A simulated PandABox: control and data port, and the FPGA blocks behind them."""

from ._fast import FastSource
from ._server import PandaServer, PandaWiring

__all__ = ["FastSource", "PandaServer", "PandaWiring"]
