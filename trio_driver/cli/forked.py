"""A function in a process of its own, which it may change, or lose, as it likes.

Must not know: what the function does.
"""

import os
import select
import signal
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import msgspec

LIMIT_S = 60.0
"""For the whole of it; what hangs for longer is killed."""

ResultT = TypeVar("ResultT")


class ForkedError(Exception):
    """The function failed, or its process was lost; the text says how."""


def in_child(function: Callable[[], ResultT], result_type: type[ResultT]) -> ResultT:
    """Call `function` in a fork of this process, which must have one thread.

    Raises:
        ForkedError: it raised something, or did not end within `LIMIT_S`.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _call(function, writer)
    os.close(writer)
    try:
        data = _read_all(reader)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)  # ours to reap, so it is nobody else's number
        os.waitpid(pid, 0)
    answer = (
        msgspec.json.decode(data)
        if data
        else {"error": f"no answer: its process was killed, or took longer than {LIMIT_S:g} s"}
    )
    if "error" in answer:
        raise ForkedError(answer["error"])
    return msgspec.convert(answer["result"], result_type)


def _call(function: Callable[[], object], writer: int) -> NoReturn:
    answer: dict[str, Any]
    try:
        answer = {"result": function()}
    except BaseException as error:  # noqa: ASYNC103 - a fork: it never returns
        answer = {"error": _text(error)}
    try:
        os.write(writer, msgspec.json.encode(answer))
    finally:
        os._exit(0)


def _text(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return _text(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _read_all(reader: int) -> bytes:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    data = b""
    while poll.poll(LIMIT_S * 1000):
        chunk = os.read(reader, 65_536)
        if not chunk:
            return data
        data += chunk
    return b""
