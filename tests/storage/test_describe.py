"""What documents say about a file leads a reader to the file's values."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np

from flyscan.flight import Channel
from flyscan.storage import StreamResource, file_uri, stream_resources
from tests.storage.documents import compose
from tests.storage.runs import expected, fly, run_file, snake


async def test_described_columns_read_back_as_a_consolidator_reads_them(tmp_path):
    """Rows joined along the first dimension: N data of shape (1, ...) are N rows."""
    path = snake()
    name = await fly(tmp_path, path)
    frames = path.points
    documents = compose(run_file(tmp_path), name, [(0, 10), (10, frames)])
    keys = next(doc for kind, doc in documents if kind == "descriptor")["data_keys"]
    resources = [doc for kind, doc in documents if kind == "stream_resource"]
    assert {r["data_key"] for r in resources} == keys.keys()
    for resource in resources:
        key = keys[resource["data_key"]]
        parts = urlsplit(resource["uri"])
        assert (parts.scheme, parts.netloc, resource["mimetype"]) == (
            "file",
            "localhost",
            "application/x-hdf5",
        )
        parameters = resource["parameters"]
        assert parameters["swmr"] is True
        with h5py.File(unquote(parts.path), "r", swmr=parameters["swmr"]) as file:
            dataset = file[parameters["dataset"]]
            assert dataset.shape == (frames * key["shape"][0], *key["shape"][1:])
            assert dataset.chunks == tuple(parameters["chunk_shape"])
            assert dataset.dtype == np.dtype(key["dtype_numpy"])
            assert key["external"] == "STREAM:"
            assert key["dtype"] == ("array" if dataset.ndim > 1 else scalar_type(dataset.dtype))
            if resource["data_key"] in ("x", "Fe", "mca", "y_setpoint", "exposure"):
                values = expected(resource["data_key"], np.arange(frames))
                np.testing.assert_allclose(dataset[()], values)


def scalar_type(dtype: np.dtype) -> str:
    return "integer" if dtype.kind in "iu" else "number"


def test_keys_are_those_of_the_channels():
    run = run_file("/data", channels=(Channel("det-x", unit="V", source="ca://X", precision=2),))
    (described,) = stream_resources(run, {"det-x"})
    assert described.data_key_dict() == {
        "source": "ca://X",
        "shape": [1],
        "dtype": "number",
        "dtype_numpy": "<f8",
        "external": "STREAM:",
        "units": "V",
        "precision": 2,
    }
    assert described.parameters == {
        "dataset": "/entry/data/det_x",
        "chunk_shape": [16384],
        "swmr": True,
    }
    names = [resource.data_key for resource in stream_resources(run)]
    assert names == [
        "frame_time",
        "exposure",
        "point",
        "segment",
        "flight",
        "det-x",
        "y_setpoint",
        "x_setpoint",
    ]
    assert not {"time", "seq_num", "keep"} & set(names)


def test_descriptions_cross_processes_as_json():
    for described in stream_resources(run_file("/data")):
        assert StreamResource.from_dict(json.loads(json.dumps(described.to_dict()))) == described


def test_wide_rows_get_chunks_of_bounded_size():
    run = run_file(
        "/data", channels=(Channel("image", "<u4", (512, 512)), Channel("mca", "<u4", (2048,)))
    )
    image, mca = stream_resources(run, {"image", "mca"})
    assert image.chunk_shape == (1, 512, 512)
    assert mca.chunk_shape == (128, 2048)
    assert image.shape == (1, 512, 512)


def test_uris_survive_odd_names():
    uri = file_uri("/data/über lauf#1/run.h5")
    assert uri == "file://localhost/data/%C3%BCber%20lauf%231/run.h5"
    assert unquote(urlsplit(uri).path) == "/data/über lauf#1/run.h5"
