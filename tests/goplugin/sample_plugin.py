"""A plugin under remote control: ExecTask runs one of the commands below inside it.

Run as a program. Environment: SAMPLE_IDLE_LIMIT_S, SAMPLE_NOISE (print while importing).
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from trio_driver._proto import base_grpc, base_pb2, driver_grpc, driver_pb2
from trio_driver.goplugin import TRACE, serve_plugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio_driver._proto.interfaces import Call

LOGGER = logging.getLogger("sample")

if "SAMPLE_NOISE" in os.environ:
    print("a library says hello while it is imported")


class Base(base_grpc.BasePluginServicer):
    """Answers the first call of every agent."""

    async def PluginInfo(
        self, input_message: base_pb2.PluginInfoRequest, request: Call
    ) -> base_pb2.PluginInfoResponse:
        return base_pb2.PluginInfoResponse(
            type=base_pb2.DRIVER, plugin_api_versions=["v0.1.0"], name="sample"
        )


class Driver(driver_grpc.DriverServicer):
    """Long calls that never end, and ExecTask."""

    async def WaitTask(
        self, input_message: driver_pb2.WaitTaskRequest, request: Call
    ) -> driver_pb2.WaitTaskResponse:
        try:
            await trio.sleep_forever()
        finally:
            LOGGER.info("WaitTask ended", extra={"kv": {"task": input_message.task_id}})

    async def Fingerprint(
        self, input_message: driver_pb2.FingerprintRequest, request: Call
    ) -> AsyncIterator[driver_pb2.FingerprintResponse]:
        yield driver_pb2.FingerprintResponse(health_description="well")
        await trio.sleep_forever()

    async def TaskEvents(
        self, input_message: driver_pb2.TaskEventsRequest, request: Call
    ) -> AsyncIterator[driver_pb2.DriverTaskEvent]:
        yield driver_pb2.DriverTaskEvent(message="first")
        await trio.sleep_forever()

    async def ExecTask(
        self, input_message: driver_pb2.ExecTaskRequest, request: Call
    ) -> driver_pb2.ExecTaskResponse:
        name, *arguments = input_message.command
        output = COMMANDS[name](*arguments)
        return driver_pb2.ExecTaskResponse(
            stdout=output.encode(), result=driver_pb2.ExitResult(exit_code=0)
        )


def print_all(text: str) -> str:
    """Everything that may write to fd 1."""
    print(f"print {text}")
    os.write(1, f"write {text}\n".encode())
    libc = ctypes.CDLL(None)
    libc.puts(f"puts {text}".encode())
    libc.fflush(None)
    subprocess.run(["echo", f"child {text}"], check=True)
    return ""


def print_much(size: str) -> str:
    """More than any pipe holds, in one go, from the thread that runs Trio."""
    print("x" * int(size))
    return ""


def log(text: str) -> str:
    """One line a level."""
    for level in (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOGGER.log(level, "%s", text, extra={"kv": {"number": level, "@message": None}})
    return ""


def complain(text: str) -> str:
    """Write to stderr without `logging`, as libraries do."""
    for _ in range(100):
        print(text, file=sys.stderr)
    return ""


def spawn(*stdio: str) -> str:
    """A process that outlives the plugin; fds named in `stdio` stay the plugin's own."""
    kept = {name: None if name in stdio else subprocess.DEVNULL for name in ("stdout", "stderr")}
    process = subprocess.Popen(
        ["sleep", "1000"],
        stdin=subprocess.DEVNULL,
        stdout=kept["stdout"],
        stderr=kept["stderr"],
        start_new_session=True,
        close_fds=False,
    )
    return str(process.pid)


def child_status() -> str:
    """/proc/self/status of a child."""
    return subprocess.run(
        ["cat", "/proc/self/status"],
        check=True,
        capture_output=True,
        text=True,
        restore_signals=False,
    ).stdout


def child_fds() -> str:
    """The descriptors that a child gets which closes none."""
    return subprocess.run(
        ["ls", "-l", "/proc/self/fd"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    ).stdout


def fail() -> str:
    """An error that ends the process, after the handshake."""
    sys.excepthook(ValueError, ValueError("on purpose"), None)
    os.abort()


COMMANDS: dict[str, Callable[..., str]] = {
    "print": print_all,
    "print-much": print_much,
    "log": log,
    "complain": complain,
    "spawn": spawn,
    "child-status": child_status,
    "child-fds": child_fds,
    "fail": fail,
}


def main() -> None:
    """Serve until the agent has enough."""
    idle_limit_s = float(os.environ.get("SAMPLE_IDLE_LIMIT_S", "600"))

    async def serve() -> None:
        await serve_plugin([Base(), Driver()], idle_limit_s=idle_limit_s)

    trio.run(serve)
    print("the last words")


if __name__ == "__main__":
    main()
