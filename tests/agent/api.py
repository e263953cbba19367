"""Nomad's HTTP API over loopback, on Trio: one request a connection, blocking queries, no sleep.

HTTP/1.0 on purpose: an answer ends where its connection does, so streams and documents are read
alike.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import trio

from .waiting import LIMIT_S, within

T = TypeVar("T")


class ApiError(Exception):
    """Nomad answered with another status than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class TaskEvent(msgspec.Struct, frozen=True, rename="pascal"):
    """A line of `nomad alloc status`."""

    type: str
    display_message: str = ""
    details: dict[str, str] | None = None

    def detail(self, name: str) -> str:
        """A detail such as `exit_code`; empty when the event has none of that name."""
        return (self.details or {}).get(name, "")

    def __str__(self) -> str:
        return f"[{self.type}] {self.display_message} {self.details or ''}"


class TaskState(msgspec.Struct, frozen=True, rename="pascal"):
    """What Nomad knows of one task of an allocation. Only the last ten events are kept."""

    state: str
    failed: bool
    restarts: int
    events: list[TaskEvent] | None = None

    def of_type(self, event_type: str) -> list[TaskEvent]:
        return [event for event in self.events or [] if event.type == event_type]

    def __str__(self) -> str:
        lines = [f"{self.state}, failed {self.failed}, {self.restarts} restarts"]
        return "\n    ".join(lines + [str(event) for event in self.events or []])


class AllocationState(msgspec.Struct, frozen=True, rename="pascal"):
    """An allocation as the server last heard of it."""

    id: str = msgspec.field(name="ID")
    client_status: str
    task_states: dict[str, TaskState] | None = None

    @property
    def is_terminal(self) -> bool:
        return self.client_status in ("complete", "failed", "lost")

    def task(self, name: str) -> TaskState | None:
        """The task `name`; None until the client has told of it."""
        return (self.task_states or {}).get(name)

    def __str__(self) -> str:
        tasks = [f"  task {name}: {task}" for name, task in (self.task_states or {}).items()]
        return "\n".join([f"allocation {self.id[:8]} is {self.client_status}", *tasks])


class Api:
    """One agent's HTTP API."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str, result: type[T], **query: object) -> T:
        """The document at `path` (below /v1), decoded as `result`.

        Raises:
            ApiError: the answer is another than 200.
        """
        _, body = await self._request("GET", path, None, query)
        return msgspec.json.decode(body, type=result)

    async def put(self, path: str, body: object = None, **query: object) -> Any:
        """PUT `body` as JSON. Raises as `get`."""
        _, answer = await self._request("PUT", path, body, query)
        return msgspec.json.decode(answer) if answer.strip() else None

    async def delete(self, path: str, **query: object) -> None:
        """DELETE `path`. Raises as `get`."""
        await self._request("DELETE", path, None, query)

    async def when(
        self,
        path: str,
        result: type[T],
        condition: Callable[[T], bool],
        *,
        wanted: str,
        limit_s: float = LIMIT_S,
    ) -> T:
        """The document at `path` as soon as `condition` holds, by blocking queries.

        Raises:
            AssertionError: it has not held within `limit_s` seconds; the text has the last one.
        """
        seen: T | None = None
        index = "0"
        async with within(limit_s, wanted, lambda: _shown(seen)):
            while True:
                headers, body = await self._request(
                    "GET", path, None, {"index": index, "wait": "30s"}
                )
                seen = msgspec.json.decode(body, type=result)
                if condition(seen):
                    return seen
                index = headers.get("x-nomad-index", "0")
        raise AssertionError("unreachable: `within` raises")

    async def read_until(self, path: str, end: bytes, **query: object) -> bytes:
        """What an answer that does not end brings, up to and with the chunk that holds `end`.

        Raises:
            ApiError: the answer is another than 200.
            AssertionError: it ended without `end`.
        """
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(_request_bytes("GET", path, b"", query))
            head, text = await _answer_head(stream)
            while end not in text:
                chunk = await stream.receive_some()
                _checked_head(head, text)
                assert chunk, f"{path} ended without {end!r}, after {text[-500:]!r}"
                text += chunk
        return text

    async def _request(
        self, method: str, path: str, body: object, query: dict[str, object]
    ) -> tuple[dict[str, str], bytes]:
        payload = b"" if body is None else msgspec.json.encode(body)
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(_request_bytes(method, path, payload, query))
            answer = b"".join([chunk async for chunk in stream])
        head, _, document = answer.partition(b"\r\n\r\n")
        return _checked_head(head, document), document


def _request_bytes(method: str, path: str, body: bytes, query: dict[str, object]) -> bytes:
    target = f"/v1{path}" + ("?" + urlencode(query) if query else "")
    head = f"{method} {target} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _checked_head(head: bytes, document: bytes) -> dict[str, str]:
    first, *lines = head.decode().split("\r\n")
    status = int(first.split()[1]) if first else 0
    if status != 200:
        raise ApiError(status, document.decode(errors="replace"))
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


async def _answer_head(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    """The head of an answer, and what of its body came with it."""
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        chunk = await stream.receive_some()
        assert chunk, f"an answer without a head: {bytes(answer)!r}"
        answer += chunk
    head, _, rest = bytes(answer).partition(b"\r\n\r\n")
    return head, rest


def _shown(document: object) -> str:
    if isinstance(document, list):
        return "\n".join(map(str, document)) or "an empty list"  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    return str(document)
