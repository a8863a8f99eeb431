"""Requests on the wire: one frame of JSON, ``{"id": ..., "method": name, "params": {...}}``.

Whoever may open the socket may send anything; only what has this form gets further than here.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ...errors import HostError

__all__ = ["MAX_MESSAGE", "bound_arguments", "decode_request", "encode_request"]

MAX_MESSAGE = 64 * 2**20
"""Bytes of the longest request; the socket closes connections that exceed it."""


def encode_request(number: int | str, method: str, params: Mapping[str, Any]) -> bytes:
    """A request as it travels.

    Raises:
        HostError: it is too long, or not JSON-able.
    """
    try:
        body = json.dumps({"id": number, "method": method, "params": params}).encode()
    except (TypeError, ValueError) as exc:
        raise HostError(
            f"parameters of {method!r} cannot be sent: {exc}",
            device="flight host",
            remedy="use numbers, texts, lists and dicts of them",
        ) from exc
    if len(body) > MAX_MESSAGE:
        raise HostError(
            f"{method!r} is a message of {len(body)} bytes, allowed are {MAX_MESSAGE}",
            device="flight host",
            remedy="describe the path by a shorter spec, or fly it in several flights",
        )
    return body


def decode_request(parts: list[bytes]) -> dict[str, Any]:
    """Read a request.

    Raises:
        HostError: it has another form.
    """
    try:
        (body,) = parts
        message = json.loads(body)
        if (
            isinstance(message["id"], int | str)
            and isinstance(message["method"], str)
            and isinstance(message["params"], dict)
        ):
            return message
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise _malformed(repr(exc)) from exc
    raise _malformed("id, method or params have the wrong type")


def bound_arguments(
    method: str, handler: Callable[..., Any], params: Mapping[str, Any]
) -> inspect.BoundArguments:
    """The parameters of a request, if they fit the method that handles it by name and type.

    Raises:
        HostError: they do not.
    """
    hints = get_type_hints(handler)
    try:
        bound = inspect.signature(handler).bind(**params)
    except TypeError as exc:
        raise _unsuited(method, str(exc)) from exc
    for name, value in bound.arguments.items():
        try:
            _adapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as exc:
            raise _unsuited(method, f"{name}: {exc.errors()[0]['msg']}") from exc
    return bound


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _malformed(what: str) -> HostError:
    return HostError(
        f"malformed request: {what}", device="flight host", remedy="send id, method and params"
    )


def _unsuited(method: str, what: str) -> HostError:
    return HostError(
        f"bad parameters for {method!r}: {what}",
        device="flight host",
        remedy="see flyscan.flight.host for what each method takes",
    )
