"""`Call.reply`, the commit point of StartTask: it returns when the answer is written, or not."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from trio_driver.rpc import RpcError, Server, ServerCall, StatusCode

from .probe import Probe, UnaryHandler
from .probe_pb2 import Note
from .raw import RawPeer, hf, stream_pair
from .streams import Tap

LIMIT_S = 20
"""Seconds after which what a test waits for is not going to happen."""


class Committing:
    """A handler that replies, and remembers whether it came to commit."""

    def __init__(self) -> None:
        self.outcome = ""
        self.is_over = trio.Event()
        self.cancel_scope = trio.CancelScope()
        self.on_called: Callable[[], None] = lambda: None
        self.on_replied: Callable[[], None] = lambda: None

    async def wait_over(self) -> None:
        with trio.fail_after(LIMIT_S):
            await self.is_over.wait()

    async def start_task(self, _note: Note, request: ServerCall) -> None:
        self.on_called()
        try:
            with self.cancel_scope:
                await request.reply(Note(text="handle"))
                self.on_replied()
                self.outcome = "committed"
        except trio.BrokenResourceError:
            self.outcome = "broken"
            raise
        finally:
            self.outcome = self.outcome or "cancelled"
            self.is_over.set()


@asynccontextmanager
async def served(handler: UnaryHandler) -> AsyncGenerator[tuple[RawPeer, Tap, trio.Nursery]]:
    """A raw client, the stream on the server's side, and the nursery in which the server runs."""
    ours, theirs = stream_pair()
    tap = Tap(ours)
    server = Server([Probe(unary=handler)])
    async with trio.open_nursery() as nursery, theirs:
        nursery.start_soon(server.serve_stream, tap)
        peer = RawPeer(theirs)
        await peer.start(is_client=True)
        yield peer, tap, nursery
        nursery.cancel_scope.cancel()


async def test_reply_returns_after_trailers_were_written() -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, _):
        sent_at_reply: list[bytes] = []
        handler.on_replied = lambda: sent_at_reply.append(bytes(tap.sent))
        await peer.send(peer.request(1))
        assert await peer.status(1) == 0
        await handler.wait_over()
        assert sent_at_reply == [bytes(tap.sent)], "all had been sent when reply returned"
    assert handler.outcome == "committed"


async def test_reply_waits_while_the_answer_is_not_written() -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, _):
        gate = trio.Event()
        tap.before_send = lambda: gate
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert handler.outcome == ""
        gate.set()
        assert await peer.status(1) == 0
        await handler.wait_over()
    assert handler.outcome == "committed"


async def test_a_reply_that_cannot_be_written_is_no_reply() -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, _):
        gate = trio.Event()
        tap.before_send = lambda: gate
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.stream.aclose()
        gate.set()
        await handler.wait_over()
    assert handler.outcome == "broken"


async def test_a_client_that_left_before_the_reply_gets_none() -> None:
    handler = Committing()

    started = trio.Event()

    async def reply_late(note: Note, request: ServerCall) -> None:
        started.set()
        # Shield: the handler is to come to its reply although its RPC has been reset.
        # Ends by: everything being idle, at the latest after LIMIT_S.
        with trio.move_on_after(LIMIT_S, shield=True):
            await trio.testing.wait_all_tasks_blocked(0.01)
        await handler.start_task(note, request)

    async with served(reply_late) as (peer, _, _):
        await peer.send(peer.request(1))
        await started.wait()
        await peer.send(hf.RstStreamFrame(1, 8))
        await handler.wait_over()
    assert handler.outcome == "cancelled"


async def test_a_reply_that_waits_for_the_clients_window_can_be_cancelled() -> None:
    handler = Committing()
    no_window = hf.SettingsFrame(0)
    no_window.settings = {hf.SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    async with served(handler.start_task) as (peer, _, _):
        await peer.send(no_window, peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert handler.outcome == ""
        handler.cancel_scope.cancel()
        await handler.wait_over()
        assert await peer.status(1) == 2, "a handler that gave no answer"
    assert handler.outcome == "cancelled"


async def test_a_cancellation_after_the_answer_is_queued_waits_for_the_truth() -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, _):
        gate = trio.Event()
        tap.before_send = lambda: gate
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        handler.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert handler.outcome == ""
        gate.set()
        assert await peer.status(1) == 0
        await handler.wait_over()
    assert handler.outcome == "committed"


async def test_a_cancelled_reply_to_a_client_that_does_not_read_breaks_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, _):
        tap.before_send = trio.Event
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        handler.cancel_scope.cancel()
        before = trio.current_time()
        await handler.wait_over()
        assert trio.current_time() - before == pytest.approx(1, abs=0.1)
        assert handler.outcome == "broken"
        assert b"handle" not in tap.sent
        await peer.wait_closed()


async def test_a_cancelled_reply_that_was_written_in_time_leaves_the_connection_as_it_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, _):
        gate = trio.Event()
        tap.before_send = lambda: gate
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        handler.cancel_scope.cancel()
        await trio.sleep(0.5)
        gate.set()
        assert await peer.status(1) == 0
        slow = trio.Event()
        tap.before_send = lambda: slow
        await peer.send(hf.PingFrame(0, b"12345678"))
        await trio.sleep(10)
        slow.set()
        await peer.next_of(hf.PingFrame)
    assert handler.outcome == "committed"


async def test_a_deadline_does_not_reach_a_handler_that_has_replied(
    autojump_clock: trio.testing.MockClock,
) -> None:
    after: list[float] = []

    async def reply_and_stay(note: Note, request: ServerCall) -> None:
        await request.reply(note)
        await trio.sleep(5)
        after.append(request.scope.deadline)

    async with served(reply_and_stay) as (peer, _, _):
        await peer.send(peer.request(1, grpc_timeout="2S"))
        assert await peer.status(1) == 0
        await trio.sleep(10)
    assert after == [math.inf]


async def test_shutdown_while_the_answer_is_being_written_is_no_reply() -> None:
    handler = Committing()
    async with served(handler.start_task) as (peer, tap, nursery):
        tap.before_send = trio.Event
        await peer.send(peer.request(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
        # Shield: the test is in the nursery that it cancels, and wants to see what comes of it.
        # Ends by: the handler's end, at the latest after LIMIT_S.
        with trio.fail_after(LIMIT_S, shield=True):
            await handler.wait_over()
    assert handler.outcome == "broken"


async def test_an_rpc_is_answered_once(caplog: pytest.LogCaptureFixture) -> None:
    async def twice(note: Note, request: ServerCall) -> Note:
        await request.reply(note)
        return note

    async with served(twice) as (peer, _, _):
        assert await peer.call(1) == 0
        assert await peer.call(3) == 0
    assert len(caplog.records) == 2


async def test_an_error_after_the_reply_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def reply_then_fail(note: Note, request: ServerCall) -> None:
        await request.reply(note)
        raise RpcError(StatusCode.INTERNAL, "too late")

    async with served(reply_then_fail) as (peer, _, _):
        assert await peer.call(1) == 0
        assert await peer.call(3) == 0
    assert len(caplog.records) == 2


class CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` after the n-th step that any task makes."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self.left = step
        self.scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


@pytest.mark.parametrize("what", ["handler", "server"])
async def test_whenever_it_is_cancelled_committed_means_that_the_client_has_the_answer(
    what: str,
) -> None:
    outcomes: set[str] = set()
    for step in itertools.count(1):
        handler = Committing()
        async with served(handler.start_task) as (peer, tap, nursery):
            scope = handler.cancel_scope if what == "handler" else nursery.cancel_scope
            instrument = CancelAtStep(step, scope)
            handler.on_called = partial(trio.lowlevel.add_instrument, instrument)
            await peer.send(peer.request(1))
            # Shield: the test is in the nursery that it cancels, and wants to see what comes of it.
            # Ends by: the handler's end, at the latest after LIMIT_S.
            with trio.fail_after(LIMIT_S, shield=True):
                await handler.wait_over()
                trio.lowlevel.remove_instrument(instrument)
                await trio.lowlevel.checkpoint()
            has_answer = b"handle" in tap.sent
        outcomes.add(handler.outcome)
        assert has_answer == (handler.outcome == "committed"), step
        if instrument.left > 0:
            break
    assert outcomes == ({"committed"} if what == "handler" else {"committed", "broken"})
