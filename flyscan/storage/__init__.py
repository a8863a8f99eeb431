"""Storage: the HDF5/NeXus file of a run, how documents describe it, its check and repair."""

from ._describe import MIMETYPE, StreamResource, file_uri, stream_resources
from ._sink import Hdf5Sink
from ._spool import SpoolOptions

__all__ = [
    "MIMETYPE",
    "Hdf5Sink",
    "SpoolOptions",
    "StreamResource",
    "file_uri",
    "stream_resources",
]
