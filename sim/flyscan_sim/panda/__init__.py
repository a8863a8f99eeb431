"""A simulated PandABox: control and data port, and the FPGA blocks behind them."""

from ._server import PandaServer, PandaWiring

__all__ = ["PandaServer", "PandaWiring"]
