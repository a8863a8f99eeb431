"""Storage: the HDF5/NeXus file of a run, how documents describe it, its check and repair."""

from ._amended import AmendedPath, AppendedSegment, records_by_flight
from ._check import check_file
from ._describe import MIMETYPE, StreamResource, file_uri, stream_resources
from ._documents import DocumentsReport
from ._kept import kept_frames
from ._layout import nexus_name
from ._problem import Kind, Problem
from ._read import channel_columns, frame_columns, open_run, read_ledger, read_paths, read_tuning
from ._repair import RepairReport, repair_file
from ._report import CheckReport, FlightReport
from ._sink import Hdf5Sink

__all__ = [
    "MIMETYPE",
    "AmendedPath",
    "AppendedSegment",
    "CheckReport",
    "DocumentsReport",
    "FlightReport",
    "Hdf5Sink",
    "Kind",
    "Problem",
    "RepairReport",
    "StreamResource",
    "channel_columns",
    "check_file",
    "file_uri",
    "frame_columns",
    "kept_frames",
    "nexus_name",
    "open_run",
    "read_ledger",
    "read_paths",
    "read_tuning",
    "records_by_flight",
    "repair_file",
    "stream_resources",
]
