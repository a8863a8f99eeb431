"""What earlier rows taught about a place: curvature and noise on a grid of positions."""

from __future__ import annotations

import numpy as np

from ..flight import FloatArray
from ._estimate import Sampled, curvature_on, dilated, on_grid

__all__ = ["Knowledge", "grid_nodes"]

NODES_PER_WIDTH = 8
MEMORY = 0.5


def grid_nodes(length: float, width: float) -> int:
    """How many nodes resolve features of `width` on a line of `length`."""
    return max(32, round(NODES_PER_WIDTH * length / width)) + 1


class Knowledge:
    """Curvature and noise of a family of lines, learnt row by row and forgotten line by line.

    Args:
        grid: ascending positions of the nodes.
        lines: how many independent lines are learnt together.
    """

    def __init__(self, grid: FloatArray, lines: int = 1) -> None:
        self.grid = grid
        self.curvature = np.zeros((lines, len(grid)))
        self.noise = np.zeros((lines, len(grid)))
        self.covered = np.zeros(len(grid), dtype=np.bool_)

    @property
    def complete(self) -> bool:
        """Whether every place has been seen."""
        return bool(self.covered.all())

    def forget(self) -> None:
        """Let what was found before count less than what comes: it may have been noise."""
        self.curvature *= MEMORY

    def learn(
        self,
        sampled: Sampled,
        low: float = -np.inf,
        high: float = np.inf,
        reach: float = 0.0,
    ) -> None:
        """Take in rows of the lines; between `low` and `high` they replace the noise known.

        Args:
            sampled: shape ``(lines, rows)``.
            low, high: where rows are.
            reach: how far from where it was seen a feature may be in the next line.
        """
        inside = (self.grid >= low) & (self.grid <= high)
        spacing = self.grid[1] - self.grid[0]
        found = np.where(inside, curvature_on(self.grid, sampled), 0.0)
        found = dilated(found, reach, spacing)
        self.curvature = np.maximum(self.curvature, found)
        noise = on_grid(self.grid, sampled.edges, sampled.variance)
        self.noise = np.where(inside, noise, self.noise)
        self.covered |= inside
