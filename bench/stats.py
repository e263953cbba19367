"""What statistics of idle tasks cost: CPU time of all processes of a driver while an agent listens.

python -m bench.stats [--raw-exec PATH] [--runs N]

Each figure is CPU time of plugin, spawner and executors in a second, divided by the tasks; an agent
asks for a sample of each task once a second.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from bench.arguments import parse_arguments
from bench.drivers import Candidate, Driver, Task, Workbench, open_driver, open_workbench
from bench.figures import Figure, table
from trio_driver._proto import driver_pb2
from trio_driver.linux import parent_of

TASKS = (1, 10, 100)
"""How many idle tasks run at the same time."""

INTERVAL_S = 1
"""Nomad's default for telemetry.collection_interval."""

WINDOW_S = 5
"""Length of one measurement: Nomad's executor looks once in so long, and repeats what it saw."""

SETTLE_S = 3.0
"""After the last start: a first sample is more work than the next."""


def main() -> None:
    arguments = parse_arguments("stats", runs=4, runs_help="measurements of five seconds each")
    with open_workbench(arguments.raw_exec) as bench:
        rows: list[tuple[Figure, Figure | None]] = []
        for tasks in TASKS:
            ours = trio.run(measure, bench, bench.ours, tasks, arguments.runs)
            theirs = bench.theirs and trio.run(measure, bench, bench.theirs, tasks, arguments.runs)
            rows.append((ours, theirs))
    print(table(rows))


async def measure(bench: Workbench, candidate: Candidate, tasks: int, runs: int) -> Figure:
    """CPU milliseconds a second and task, `runs` times."""
    async with open_driver(bench, candidate) as driver, AsyncExitStack() as stack:
        started = [await stack.enter_async_context(running(driver)) for _ in range(tasks)]
        helpers = await helpers_of(driver, started)
        async with trio.open_nursery() as nursery:
            for task in started:
                await nursery.start(listen, driver, task)
            await trio.sleep(SETTLE_S)
            values_ms: list[float] = []
            for _ in range(runs):
                before_ms, before_s = cpu_ms(helpers), trio.current_time()
                await trio.sleep(WINDOW_S)
                elapsed_s = trio.current_time() - before_s
                values_ms.append((cpu_ms(helpers) - before_ms) / elapsed_s / tasks)
            nursery.cancel_scope.cancel()
    return Figure(f"CPU of all helpers a task and second, {tasks} idle", "ms", values_ms)


@asynccontextmanager
async def running(driver: Driver) -> AsyncGenerator[Task]:
    """A task that sleeps, for the length of the block."""
    with driver.new_task("/bin/sleep", "1000") as task:
        await task.start()
        yield task
        await task.stop()
        await task.destroy()


async def helpers_of(driver: Driver, tasks: Iterable[Task]) -> set[int]:
    """The plugin, what forked the workloads, and what forked that."""
    executors = {parent_of(await task.workload_pid()) or 0 for task in tasks}
    parents = {parent_of(pid) or 0 for pid in executors}
    return ({driver.pid} | executors | parents) - {0, 1}


async def listen(
    driver: Driver, task: Task, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Take samples as an agent does; started with the first."""
    request = driver_pb2.TaskStatsRequest(task_id=task.config.id)
    request.collection_interval.seconds = INTERVAL_S
    async with driver.stub.TaskStats(request) as samples:
        await anext(samples)
        task_status.started()
        async for _ in samples:
            pass


def cpu_ms(pids: Iterable[int]) -> float:
    """What all threads of the processes have run. Source: schedstat, its first number is in ns."""
    files = (file for pid in pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(file.read_text(encoding="ascii").split()[0]) for file in files) / 1e6


if __name__ == "__main__":
    main()
