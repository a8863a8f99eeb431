"""Documents of a made-up run, composed by event-model as a RunEngine would."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from event_model import compose_run, compose_stream_resource

from flyscan.flight import RunFile
from flyscan.storage import file_uri, stream_resources

Documents = list[tuple[str, dict[str, Any]]]


def compose(
    run: RunFile,
    file: str,
    steps: Iterable[tuple[int, int]],
    *,
    exit_status: str | None = "success",
) -> Documents:
    """Documents describing the given ranges of frames of every column."""
    bundle = compose_run(metadata={"plan_name": "fly"})
    described = stream_resources(run)
    descriptor = bundle.compose_descriptor(
        name="primary",
        data_keys={resource.data_key: resource.data_key_dict() for resource in described},
        object_keys={"flyer": [resource.data_key for resource in described]},
    )
    documents: Documents = [("start", bundle.start_doc), ("descriptor", descriptor.descriptor_doc)]
    composers = []
    for resource in described:
        composed = compose_stream_resource(
            start=bundle.start_doc,
            mimetype=resource.mimetype,
            uri=file_uri(file),
            data_key=resource.data_key,
            parameters=resource.parameters,
        )
        documents.append(("stream_resource", composed.stream_resource_doc))
        composers.append(composed.compose_stream_datum)
    for start, stop in steps:
        for datum in composers:
            doc = datum(
                indices={"start": start, "stop": stop},
                seq_nums={"start": start + 1, "stop": stop + 1},
                descriptor=descriptor.descriptor_doc,
            )
            documents.append(("stream_datum", doc))
    if exit_status is not None:
        documents.append(("stop", bundle.compose_stop(exit_status=exit_status)))
    return documents
