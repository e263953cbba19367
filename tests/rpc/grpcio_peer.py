"""An independent gRPC peer: grpcio in a process of its own, told what to do by lines of JSON.

Run as a script. A line on stdin is `{"id": N, "do": NAME, ...}`; for each comes a line on stdout,
`{"id": N, "result": ...}` or `{"id": N, "error": TEXT}`, when it is done. Commands run at the same
time, a thread each. A process of its own, because grpcio's threads would be in the way of tests
that fork or count threads.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # pyright: ignore[reportMissingTypeStubs]
from probe_pb2 import Note  # pyright: ignore

SERVICE = "trio_driver.tests.rpc.Probe"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
WAIT_LIMIT_S = 20


def note_of(value: dict[str, Any]) -> Note:
    data = b"x" * value.get("size", 0)
    return Note(text=value.get("text", ""), data=data, count=value.get("count", 0))


def value_of(note: Note) -> dict[str, Any]:
    return {"text": note.text, "size": len(note.data), "count": note.count}


def metadata_of(pairs: list[list[str]]) -> list[tuple[str, Any]]:
    return [(k, v.encode("latin-1") if k.endswith("-bin") else v) for k, v in pairs]


def pairs_of(metadata: Any) -> list[list[str]]:
    return [
        [key, value.decode("latin-1") if isinstance(value, bytes) else value]
        for key, value in metadata or ()
    ]


class Client:
    """Channels, and the calls on them that have not ended."""

    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.calls: dict[str, Any] = {}
        self.changed = threading.Lock()

    def open(self, *, channel: str, target: str, options: list[list[Any]] | None = None) -> None:
        pairs = [*UNLIMITED, *((key, value) for key, value in options or ())]
        self.channels[channel] = grpc.insecure_channel(target, options=pairs)

    def call(
        self, *, channel: str, method: str, cancel_after: int | None = None, **options: Any
    ) -> dict[str, Any]:
        """Make one call and wait for its end; `start` has the options."""
        running = self.start(self.channels[channel], method, **options)
        received: list[Note] = []
        try:
            if method in ("ServerStream", "Bidi"):
                for note in running:
                    received.append(note)
                    if len(received) == cancel_after:
                        running.cancel()
            else:
                received.append(running.result())
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        return {
            "code": running.code().name,
            "message": running.details(),
            "notes": [value_of(note) for note in received],
            "initial": pairs_of(running.initial_metadata()),
            "trailing": pairs_of(running.trailing_metadata()),
        }

    def start(
        self,
        channel: Any,
        method: str,
        *,
        notes: list[dict[str, Any]],
        name: str = "",
        timeout: float | None = WAIT_LIMIT_S,
        metadata: list[list[str]] | None = None,
        compression: str | None = None,
        stay_open: bool = False,
    ) -> Any:
        """Begin a call. Streams take all of `notes`, and do not end with `stay_open`."""
        streams_in = method in ("ClientStream", "Bidi")
        streams_out = method in ("ServerStream", "Bidi")
        kind = f"{'stream' if streams_in else 'unary'}_{'stream' if streams_out else 'unary'}"
        callable_ = getattr(channel, kind)(
            f"/{SERVICE}/{method}", Note.SerializeToString, Note.FromString
        )
        argument = self.feed(notes, stay_open) if streams_in else note_of(notes[0])
        start = callable_ if streams_out else callable_.future
        with self.changed:  # held while it starts: its handler may be seen before its name is known
            running = self.calls[name] = start(
                argument,
                timeout=timeout,
                metadata=metadata_of(metadata or []),
                compression=getattr(grpc.Compression, compression) if compression else None,
            )
        return running

    def feed(self, notes: list[dict[str, Any]], stay_open: bool) -> Iterator[Note]:
        for note in notes:
            yield note_of(note)
        if stay_open:
            threading.Event().wait()

    def cancel(self, *, name: str) -> None:
        with self.changed:
            running = self.calls[name]
        running.cancel()

    def repeat(
        self, *, channel: str, times: int, method: str, notes: list[dict[str, Any]]
    ) -> dict[str, int]:
        """Make the same call many times at once; give how often each status came."""
        results: dict[str, int] = {}
        streams_out = method in ("ServerStream", "Bidi")
        kind = "unary_stream" if streams_out else "unary_unary"
        callable_ = getattr(self.channels[channel], kind)(
            f"/{SERVICE}/{method}", Note.SerializeToString, Note.FromString
        )
        note = note_of(notes[0])
        running = [
            callable_(note, timeout=WAIT_LIMIT_S)
            if streams_out
            else callable_.future(note, timeout=WAIT_LIMIT_S)
            for _ in range(times)
        ]
        for call in running:
            code = call.code().name
            results[code] = results.get(code, 0) + 1
        return results


class Server:
    """A server whose handlers do what the text of the first note says."""

    def __init__(self) -> None:
        self.server: Any = None
        self.started = 0
        self.cancelled = 0
        self.changed = threading.Condition()

    def serve(self, *, target: str, options: list[list[Any]] | None = None) -> None:
        pairs = [*UNLIMITED, *((key, value) for key, value in options or ())]
        self.server = grpc.server(ThreadPoolExecutor(600), options=pairs)
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler,
            "ServerStream": grpc.unary_stream_rpc_method_handler,
            "ClientStream": grpc.stream_unary_rpc_method_handler,
            "Bidi": grpc.stream_stream_rpc_method_handler,
        }
        functions = {
            "Unary": self.unary,
            "ServerStream": self.server_stream,
            "ClientStream": self.client_stream,
            "Bidi": self.bidi,
        }
        methods = {
            name: make(functions[name], Note.FromString, Note.SerializeToString)
            for name, make in handlers.items()
        }
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, methods)]
        )
        assert self.server.add_insecure_port(target)
        self.server.start()

    def stop(self, *, grace: float | None) -> None:
        self.server.stop(grace).wait()

    def wait_for(self, *, started: int = 0, cancelled: int = 0) -> None:
        """Wait until so many handlers have started, and so many been cancelled."""
        with self.changed:
            if not self.changed.wait_for(
                lambda: self.started >= started and self.cancelled >= cancelled, WAIT_LIMIT_S
            ):
                raise TimeoutError(f"{self.started} started, {self.cancelled} cancelled")

    def act(self, text: str, note: Note, context: Any) -> None:
        over = threading.Event()
        context.add_callback(over.set)
        with self.changed:
            self.started += 1
            self.changed.notify_all()
        if text == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "nö such thing: 100%")
        if text == "metadata":
            sent = [("x-text", "hi"), ("x-bin", b"\x00\xff")]
            context.send_initial_metadata(sent)
            mine = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-")]
            seen = [(f"seen-{key}", value) for key, value in mine]
            context.set_trailing_metadata([("y-text", "bye"), ("y-bin", b"\x01"), *seen])
        if text == "gzip":
            context.set_compression(grpc.Compression.Gzip)
        if text == "wait":
            if not over.wait(WAIT_LIMIT_S):
                return
            with self.changed:
                self.cancelled += 1
                self.changed.notify_all()
        if text == "slow":
            over.wait(0.3)

    def unary(self, note: Note, context: Any) -> Note:
        self.act(note.text, note, context)
        return Note(text=note.text, data=b"x" * note.count)

    def server_stream(self, note: Note, context: Any) -> Iterator[Note]:
        for number in range(note.count):
            yield Note(text=note.text, data=note.data, count=number)
        self.act(note.text, note, context)

    def client_stream(self, notes: Iterator[Note], context: Any) -> Note:
        answer = Note()
        for note in notes:
            self.act(note.text, note, context)
            answer.count += 1
            answer.text += note.text
            if note.text == "early":
                break
        return answer

    def bidi(self, notes: Iterator[Note], context: Any) -> Iterator[Note]:
        for note in notes:
            self.act(note.text, note, context)
            yield note


def main() -> None:
    client, server = Client(), Server()
    writing = threading.Lock()

    def run(request: dict[str, Any]) -> None:
        number, name = request.pop("id"), request.pop("do")
        owner = client if hasattr(client, name) else server
        function: Callable[..., Any] = getattr(owner, name)
        try:
            reply = {"id": number, "result": function(**request)}
        except Exception as error:
            reply = {"id": number, "error": repr(error)}
        with writing:
            print(json.dumps(reply), flush=True)

    for line in sys.stdin:
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()
