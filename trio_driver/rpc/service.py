"""The registry of services: what purerpc declares, as values of ours.

The only module that imports purerpc. From it come the status codes, and `Servicer`, `Service`,
`RPCSignature` and `Cardinality`, which generated code fills in. Not used: purerpc's server, channel
and sockets; they swallow cancellation, see no resets and no deadlines, and buffer without bound.

Rules: a handler is looked up by its full path; the border to the untyped library is `methods_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from purerpc import Cardinality, Servicer, StatusCode

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["Method", "Servicer", "StatusCode", "methods_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC method of a servicer.

    `function` takes the message (or the iterator of messages) and `request=`, the call. It returns
    an awaitable of one message, or an async iterator of messages when `streams_output`.
    """

    function: Callable[..., Any]
    request_type: type[Message]
    streams_input: bool
    streams_output: bool


def methods_of(servicers: Iterable[Servicer]) -> Mapping[str, Method]:
    """All methods of `servicers` by path (`/package.Service/Method`).

    Raises:
        ValueError: two servicers have a method of the same path.
    """
    methods: dict[str, Method] = {}
    for servicer in servicers:
        service: Any = servicer.service
        for name, bound in cast("dict[str, Any]", service.methods).items():
            path = f"/{service.name}/{name}"
            if path in methods:
                raise ValueError(f"{path} is served twice")
            cardinality: Cardinality = bound.signature.cardinality
            methods[path] = Method(
                function=bound.method_fn,
                request_type=bound.signature.request_type,
                streams_input=cardinality.name.startswith("STREAM_"),
                streams_output=cardinality.name.endswith("_STREAM"),
            )
    return methods
