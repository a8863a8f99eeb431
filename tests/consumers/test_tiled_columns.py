"""Columns of every kind are the same in Tiled as in the file, spectra among them."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from bluesky_tiled_plugins import TiledWriter
from event_model import compose_run

from flyscan.devices._documents import StreamDocuments
from flyscan.storage import file_uri, stream_resources
from tests.consumers.tiled_server import TiledServer
from tests.storage.runs import fly, run_file, snake


def write_documents(client: Any, documents: StreamDocuments, frames: int) -> str:
    """Give a run's documents to Tiled's writer; the run's uid."""
    writer = TiledWriter(client)
    run = compose_run()
    writer("start", run.start_doc)
    stream = run.compose_descriptor(name="primary", data_keys=documents.data_keys())
    writer("descriptor", stream.descriptor_doc)
    for stop in (frames // 3, frames):
        for name, document in documents.up_to(stop):
            filled: dict[str, Any] = dict(document)
            if name == "stream_resource":
                filled["run_start"] = run.start_doc["uid"]
            else:
                filled["descriptor"] = stream.descriptor_doc["uid"]
                first, last = filled["indices"]["start"], filled["indices"]["stop"]
                filled["seq_nums"] = {"start": first + 1, "stop": last + 1}
            writer(name, filled)
    writer("stop", run.compose_stop())
    return str(run.start_doc["uid"])


async def test_values_types_and_units_are_those_of_the_file(tiled: TiledServer) -> None:
    path = snake()
    file = await fly(tiled.files, path, filename="columns")
    columns = stream_resources(run_file(tiled.files))
    documents = StreamDocuments("nano", file_uri(file), columns)

    with tiled.client() as client, h5py.File(file, "r") as stored:
        primary = client[write_documents(client, documents, path.points)]["primary"]
        assert set(primary) == {f"nano-{column.data_key}" for column in columns}
        for column in columns:
            values = primary[f"nano-{column.data_key}"].read()
            expected = stored[column.dataset][:]
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values.reshape(expected.shape), expected)
        # A row of the file is one event, of which a spectrum is the only one:
        assert primary["nano-mca"].shape == (path.points, 1, 4)
        assert primary.metadata["data_keys"]["nano-x"]["units"] == "um"
