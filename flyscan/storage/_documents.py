"""The documents of a run held against its file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import StorageError
from ._problem import Kind, Problem

__all__ = ["Documents", "DocumentsReport", "check_documents", "read_documents"]

Document = tuple[str, Mapping[str, Any]]
Documents = str | os.PathLike[str] | Iterable[Document]
"""``(name, document)`` pairs, or a JSON-lines file of them."""


@dataclass(frozen=True, slots=True)
class DocumentsReport:
    """What documents say about the file.

    Args:
        described: data key to the number of frames described, for keys stored in the file.
        undescribed: complete frames in the file that no document describes.
        exit_status: of the run, None without a stop document.
    """

    described: Mapping[str, int]
    undescribed: int
    exit_status: str | None


@dataclass(slots=True)
class _Resource:
    """One ``stream_resource`` and what its ``stream_datum`` documents have covered."""

    key: str
    uri: str
    described: int = 0
    next_seq_num: int | None = None
    problems: list[str] = field(default_factory=list[str])

    def add(self, doc: Mapping[str, Any]) -> None:
        """Take the next datum; indices and seq_nums must continue those before."""
        indices, seq_nums = doc["indices"], doc["seq_nums"]
        if indices["start"] != self.described or indices["stop"] < indices["start"]:
            self.problems.append(
                f"{self.key}: expected indices from {self.described} on, "
                f"got {indices['start']} to {indices['stop']}"
            )
        expected = self.next_seq_num
        if expected is not None and seq_nums["start"] != expected:
            self.problems.append(
                f"{self.key}: expected seq_nums from {expected} on, "
                f"got {seq_nums['start']} to {seq_nums['stop']}"
            )
        self.described = max(self.described, indices["stop"])
        self.next_seq_num = seq_nums["stop"]

    def is_in(self, path: str) -> bool:
        """Whether the resource is the file at `path`, which may have been moved since."""
        return os.path.basename(unquote(urlsplit(self.uri).path)) == os.path.basename(path)


def read_documents(documents: Documents) -> list[Document]:
    """Documents as pairs, from wherever they are.

    A JSON-lines file holds ``{"name": ..., "doc": ...}``, as bluesky's ``JSONLinesWriter``
    writes it, or ``[name, doc]`` per line.

    Raises:
        StorageError: the file cannot be read or a line is not a document.
    """
    if not isinstance(documents, str | os.PathLike):
        return list(documents)
    name = os.fspath(documents)
    try:
        with open(name, encoding="utf-8") as lines:
            return list(_parse(name, lines))
    except OSError as exc:
        raise StorageError(
            f"documents cannot be read: {exc.strerror}", device=name, remedy="check the file name"
        ) from exc


def check_documents(
    path: str, frames: int, documents: list[Document]
) -> tuple[DocumentsReport, list[Problem]]:
    """Hold documents against a file of `frames` complete frames.

    Every resource must be described without gap or overlap from index 0 on; those in the file
    must not be described beyond it, and a run that ended well must be described to its end.
    A run that was stopped before its first frame has nothing to describe, and no resources.
    """
    resources, exit_status = _collect(documents)
    problems = [text for resource in resources.values() for text in resource.problems]
    ours = {r.key: r.described for r in resources.values() if r.is_in(path)}
    if not ours and (frames or resources or exit_status == "success"):
        problems.append(f"none of the {len(resources)} stream resources is {path}")
    beyond = {key: count for key, count in ours.items() if count > frames}
    if beyond:
        key, count = max(beyond.items(), key=lambda item: item[1])
        problems.append(f"{key}: {count} frames are described, the file has {frames}")
    if len(set(ours.values())) > 1:
        counts = ", ".join(f"{key} {count}" for key, count in ours.items())
        problems.append(f"columns are described to different ends: {counts}")
    undescribed = max(0, frames - min(ours.values(), default=frames))
    if undescribed and exit_status == "success":
        problems.append(f"the run ended with success, but {undescribed} frames are not described")
    report = DocumentsReport(ours, undescribed, exit_status)
    return report, [Problem(Kind.DOCUMENTS, text) for text in problems]


def _parse(name: str, lines: Iterable[str]) -> Iterator[Document]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry: Any = json.loads(line)
            pair: Any = (entry["name"], entry["doc"]) if "name" in entry else entry
            kind, doc = pair
            yield str(kind), dict(doc)
        except (ValueError, KeyError, TypeError) as exc:
            raise StorageError(
                f"line {number} is not a document: {exc!r}",
                device=name,
                remedy='give one {"name": ..., "doc": ...} per line',
            ) from exc


def _collect(documents: list[Document]) -> tuple[dict[str, _Resource], str | None]:
    resources: dict[str, _Resource] = {}
    exit_status: str | None = None
    for name, doc in documents:
        if name == "stream_resource":
            resources[doc["uid"]] = _Resource(doc["data_key"], doc["uri"])
        elif name == "stream_datum":
            resources[doc["stream_resource"]].add(doc)
        elif name == "stop":
            exit_status = doc.get("exit_status")
    return resources, exit_status
