"""Whether the plugin grows: many tasks are started, stopped and destroyed, one after the other.

python -m bench.growth [--raw-exec PATH] [--runs CYCLES]
"""

import os
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.arguments import parse_arguments
from bench.drivers import (
    Candidate,
    Driver,
    Workbench,
    open_driver,
    open_workbench,
    plugin_script,
)
from trio_driver.goplugin import LogRecord

COUNTING_PLUGIN = """
import logging
import signal

import trio

from trio_driver.drivers import TrioDriver
from trio_driver.sdk import main


def tell(_signum, _frame):
    count = trio.lowlevel.current_statistics().tasks_living
    logging.getLogger("bench").warning("trio tasks", extra={"kv": {"count": count}})


signal.signal(signal.SIGUSR1, tell)
main(TrioDriver)
"""
"""Our plugin, which tells on SIGUSR1 how many Trio tasks there are."""

LOOKS = 8
"""How often the plugin is looked at on the way."""

PRIVATE = re.compile(r"^Private_(?:Clean|Dirty):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Look:
    """A plugin after `cycles` tasks; `trio_tasks` is None where there is no Trio."""

    cycles: int
    fds: int
    private_mb: float
    trio_tasks: int | None

    def __str__(self) -> str:
        tasks = "-" if self.trio_tasks is None else self.trio_tasks
        return f"| {self.cycles} | {self.fds} | {self.private_mb:.2f} | {tasks} |"


def main() -> None:
    arguments = parse_arguments("growth", runs=2000, runs_help="tasks, one after the other")
    with open_workbench(arguments.raw_exec) as bench:
        script = plugin_script(bench.directory / "counting-plugin", COUNTING_PLUGIN)
        ours = Candidate("trio", [str(script)], bench.ours.config)
        for candidate in [ours, bench.theirs]:
            if candidate is not None:
                looks = trio.run(measure, bench, candidate, arguments.runs)
                print(f"{candidate.name}:\n")
                print("| tasks so far | descriptors | private memory, MB | Trio tasks |")
                print("|---|---|---|---|")
                print(*looks, "", sep="\n")


async def measure(bench: Workbench, candidate: Candidate, cycles: int) -> list[Look]:
    """Look before, `LOOKS` times on the way, and at the end."""
    step = max(1, cycles // LOOKS)
    async with open_counted_driver(bench, candidate) as (driver, counter):
        looks: list[Look] = []
        for cycle in range(cycles + 1):
            if cycle % step == 0 or cycle == cycles:
                looks.append(await look(driver, counter, cycle))
            with driver.new_task("/bin/sleep", "1000") as task:
                await task.start()
                await task.stop()
                await task.wait()
                await task.destroy()
    return looks


class TaskCounter:
    """The number of Trio tasks in our plugin, told through its log."""

    def __init__(self) -> None:
        self._counts, self._received = trio.open_memory_channel[int](1)

    def on_log(self, record: LogRecord) -> None:
        """Take what the counting plugin tells out of its log."""
        if record.message == "trio tasks":
            self._counts.send_nowait(int(str(record.fields["count"])))

    async def ask(self, pid: int) -> int:
        """How many there are now."""
        os.kill(pid, signal.SIGUSR1)
        with trio.fail_after(5):
            return await self._received.receive()


@asynccontextmanager
async def open_counted_driver(
    bench: Workbench, candidate: Candidate
) -> AsyncGenerator[tuple[Driver, TaskCounter | None]]:
    """A driver, with the counter that only ours has."""
    counter = TaskCounter()
    async with open_driver(bench, candidate, on_log=counter.on_log) as driver:
        yield driver, counter if candidate.name == "trio" else None


async def look(driver: Driver, counter: TaskCounter | None, cycles: int) -> Look:
    rollup = Path(f"/proc/{driver.pid}/smaps_rollup").read_text(encoding="ascii")
    return Look(
        cycles=cycles,
        fds=len(os.listdir(f"/proc/{driver.pid}/fd")),
        private_mb=sum(map(int, PRIVATE.findall(rollup))) * 1024 / 1e6,
        trio_tasks=None if counter is None else await counter.ask(driver.pid),
    )


if __name__ == "__main__":
    main()
