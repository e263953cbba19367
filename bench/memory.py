"""How much memory the processes of a driver take while many tasks run.

python -m bench.memory [--raw-exec PATH] [--runs TASKS]

PSS counts a page that n processes share as 1/n of a page for each of them.
"""

import re
from contextlib import ExitStack
from pathlib import Path

import trio

from bench.arguments import parse_arguments
from bench.drivers import Candidate, Workbench, open_driver, open_workbench
from bench.figures import Figure, table
from trio_driver.linux import parent_of

PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def main() -> None:
    arguments = parse_arguments("memory", runs=100, runs_help="tasks that run at the same time")
    with open_workbench(arguments.raw_exec) as bench:
        ours = trio.run(measure, bench, bench.ours, arguments.runs)
        theirs = trio.run(measure, bench, bench.theirs, arguments.runs) if bench.theirs else None
    rows = zip(ours, theirs or [None] * len(ours), strict=True)
    print(f"At {arguments.runs} tasks:\n\n{table(list(rows))}")


async def measure(bench: Workbench, candidate: Candidate, tasks: int) -> list[Figure]:
    """Start `tasks` tasks that sleep, look, end them."""
    async with open_driver(bench, candidate) as driver:
        with ExitStack() as stack:
            started = [
                stack.enter_context(driver.new_task("/bin/sleep", "1000")) for _ in range(tasks)
            ]
            for task in started:
                await task.start()
            workloads = [await task.workload_pid() for task in started]
            executors = {parent_of(pid) or 0 for pid in workloads}
            common = {driver.pid} | ({parent_of(pid) or 0 for pid in executors} - {driver.pid, 1})
            figures = [
                Figure("PSS of an executor", "MB", [pss_mb(pid) for pid in executors]),
                Figure("processes of the driver a task", "", [len(executors) / tasks]),
                Figure("plugin and spawner together, PSS", "MB", [sum(map(pss_mb, common))]),
                Figure(
                    "all processes of the driver, PSS a task",
                    "MB",
                    [sum(map(pss_mb, common | executors)) / tasks],
                ),
            ]
            for task in started:
                await task.stop()
                await task.destroy()
    return figures


def pss_mb(pid: int) -> float:
    """Megabytes (10^6 bytes) of the process."""
    found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))
    assert found is not None, "every process that runs has a PSS"
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
