"""The picture of a map, from its file."""

# matplotlib is only partly annotated:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path as FilePath

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..storage import kept_frames

__all__ = ["draw_map"]

ELEMENTS = ("Fe", "Cu", "Zn")


def draw_map(file: FilePath, picture: FilePath, shape: tuple[int, int]) -> FilePath:
    """Draw the element maps of a snake map, counts per I0 count, to a PNG.

    Args:
        file: the run's HDF5 file.
        picture: where to write.
        shape: lines and points per line.

    Returns:
        `picture`.
    """
    columns = kept_frames(file, (*ELEMENTS, "I0", "x", "y"))
    images = {name: _unsnake(column, shape) for name, column in columns.items()}
    extent = (
        float(images["x"].min()),
        float(images["x"].max()),
        float(images["y"].min()),
        float(images["y"].max()),
    )
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, element in zip(figure.subplots(1, len(ELEMENTS)), ELEMENTS, strict=True):
        image = axes.imshow(images[element] / images["I0"], origin="lower", extent=extent)
        axes.set_title(f"{element} / I0")
        axes.set_xlabel("x (µm)")
        axes.set_ylabel("y (µm)")
        figure.colorbar(image, ax=axes, shrink=0.8)
    figure.savefig(picture, dpi=110)
    return picture


def _unsnake(column: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    image = column.reshape(shape).astype(np.float64)
    image[1::2] = image[1::2, ::-1]
    return image
