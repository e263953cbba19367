"""What generated servicers and stubs need from a transport; `trio_driver.rpc` provides it.

The one module of `_proto` that is written by hand. It owns no behaviour: generated code names these
types, so that it depends on no transport. Must not know: HTTP/2, sockets, purerpc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from google.protobuf.message import Message

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Pairs in the order sent; keys may repeat."""

Req = TypeVar("Req", bound="Message")
Resp = TypeVar("Resp", bound="Message")
Req_contra = TypeVar("Req_contra", bound="Message", contravariant=True)
Resp_co = TypeVar("Resp_co", bound="Message", covariant=True)


class Call(Protocol):
    """One RPC as its handler sees it: the `request` argument of every servicer method."""

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        ...

    @property
    def metadata(self) -> Metadata:
        """The client's metadata in the order sent; values of `-bin` keys are bytes."""
        ...

    @property
    def deadline(self) -> float:
        """When the client stops waiting, in seconds of Trio's clock; `math.inf` without limit."""
        ...

    async def reply(self, message: Message) -> None:
        """Answer a unary RPC now and go on; the handler then returns None.

        Returns once headers, message and OK trailers were all written to the connection's socket.
        What the peer did with them is not known.

        Raises:
            trio.BrokenResourceError: the connection broke before all of it was written.

        If cancelled, the answer may have been written, in part or not at all.
        """
        ...


class ClientCall(Protocol[Req_contra, Resp_co]):
    """A bidirectional RPC as its client sees it; iterating gives the answers."""

    async def send(self, message: Req_contra) -> None:
        """Send one message; waits while the peer grants no room."""
        ...

    async def done_sending(self) -> None:
        """Tell the peer that no more messages follow. Answers may still come."""
        ...

    def __aiter__(self) -> AsyncIterator[Resp_co]: ...

    async def __anext__(self) -> Resp_co:
        """The next answer; iteration ends when the RPC ended with OK.

        Raises:
            trio_driver.rpc.RpcError: the RPC ended with any other status.
        """
        ...


class Channel(Protocol):
    """A connection on which stubs make calls.

    In all calls: `path` is `/package.Service/Method`; `deadline_s` is in seconds from now, None is
    no deadline; every end but OK raises `trio_driver.rpc.RpcError`; cancelling a call, or leaving
    its block, resets that RPC and no other.
    """

    async def unary_unary(
        self,
        path: str,
        input_message: Message,
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> Resp:
        """One message there, one back."""
        ...

    def unary_stream(
        self,
        path: str,
        input_message: Message,
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> AbstractAsyncContextManager[AsyncIterator[Resp]]:
        """One message there, any number back."""
        ...

    async def stream_unary(
        self,
        path: str,
        input_messages: AsyncIterable[Message],
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> Resp:
        """Any number there, one back."""
        ...

    def stream_stream(
        self,
        path: str,
        response_type: type[Resp],
        *,
        deadline_s: float | None = None,
        metadata: Metadata = (),
    ) -> AbstractAsyncContextManager[ClientCall[Any, Resp]]:
        """Any number there, any number back."""
        ...
