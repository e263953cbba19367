"""A driver for tests: what its `run` does is told by the task's `mode`."""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator

import msgspec
import trio

import trio_driver
from trio_driver import (
    Driver,
    DriverError,
    Exited,
    Fingerprint,
    Health,
    PluginConfig,
    Task,
    TaskExit,
)

MODULES_AT_FORK: set[str] = set()
os.register_at_fork(after_in_child=lambda: MODULES_AT_FORK.update(sys.modules))


class ScriptedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The `config` block."""

    mode: str = "command"
    command: str = ""
    args: list[str] = []


class Scripted(Driver[PluginConfig, ScriptedConfig]):
    """See the module."""

    name = "scripted"

    async def fingerprint(self) -> AsyncGenerator[Fingerprint]:
        """Shows how many Trio tasks live in the plugin, at each opening of the stream."""
        living = trio.lowlevel.current_statistics().tasks_living
        attributes: dict[str, str | int | float | bool] = {"tasks_living": living}
        yield Fingerprint(health=Health.HEALTHY, description="Healthy", attributes=attributes)

    async def run(self, task: Task[ScriptedConfig]) -> TaskExit:
        match task.config.mode:
            case "command":
                return await self._run_command(task)
            case "never-started":  # provisional for as long as it lives
                await trio.sleep_forever()
            case "no-workload":
                task.started()
                await trio.sleep_forever()
            case "returns":
                task.started()
                return Exited(7)
            case "returns-at-once":
                return Exited(8)
            case "raises":
                raise RuntimeError("the author's mistake")
            case "raises-late":
                task.started()
                raise RuntimeError("the author's later mistake")
            case "refuses":
                raise DriverError("the moon is full")
            case "deaf":
                return await self._ignore_cancellation(task)
            case "writes":
                return await self._write(task)
            case "tells":
                return await self._tell(task)
            case "modules":
                return await self._report_modules(task)
            case "exhausts-descriptors":
                return await self._exhaust_descriptors(task)
            case "suicide":
                os.kill(os.getpid(), signal.SIGKILL)
            case mode:
                raise DriverError(f"no such mode: {mode}")
        raise AssertionError("not reached")

    async def _run_command(self, task: Task[ScriptedConfig]) -> TaskExit:
        async with task.open_workload(task.config.command, *task.config.args) as workload:
            return await workload.wait()

    async def _ignore_cancellation(self, task: Task[ScriptedConfig]) -> TaskExit:
        async with task.open_workload(task.config.command, *task.config.args):
            # Shield: a run that does not unwind is what the tests are about.
            # Ends by: the deadline, long after any test.
            with trio.move_on_after(3600, shield=True):
                await trio.sleep_forever()
        raise AssertionError("not reached")

    async def _exhaust_descriptors(self, task: Task[ScriptedConfig]) -> TaskExit:
        """Run the command with a full descriptor table behind it."""
        async with task.open_workload(task.config.command, *task.config.args) as workload:
            with contextlib.suppress(OSError):
                while True:
                    os.open(os.devnull, os.O_RDONLY)
            await task.write_stdout("no descriptor is left\n")
            return await workload.wait()

    async def _write(self, task: Task[ScriptedConfig]) -> TaskExit:
        task.started()
        await task.write_stdout("written by the executor\n")
        return Exited(0)

    async def _tell(self, task: Task[ScriptedConfig]) -> TaskExit:
        task.started()
        task.tell("the author speaks", word="hello")
        await trio.sleep_forever()
        raise AssertionError("not reached")

    async def _report_modules(self, task: Task[ScriptedConfig]) -> TaskExit:
        """Live a whole life, statistics and all, then write what was imported since the fork."""
        exit_code = await self._run_command(task)
        grown = sorted(set(sys.modules) - MODULES_AT_FORK)
        await task.write_stdout(f"imported since the fork: {grown}\n")
        return exit_code


if __name__ == "__main__":
    trio_driver.main(Scripted)
