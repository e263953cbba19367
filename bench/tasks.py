"""How long an executor and each call of a task's life take.

python -m bench.tasks [--raw-exec PATH] [--runs N]
"""

import json
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack

import trio
import trio.testing

from bench.arguments import parse_arguments
from bench.drivers import Candidate, Driver, Workbench, open_driver, open_workbench
from bench.figures import Figure, table
from trio_driver._proto import executor_pb2
from trio_driver.goplugin import open_plugin
from trio_driver.linux import signal_pidfd
from trio_driver.spawner import ProcessLimits, Spawner, SpawnRequest
from trio_driver.state import destroy_run, open_state_directory

CALLS = (
    ("StartTask", "StartTask"),
    ("StopTask", "StopTask of a running task, SIGKILL at once"),
    ("stopped", "StopTask to WaitTask's answer"),
    ("ended", "exit of the workload to WaitTask's answer"),
    ("DestroyTask", "DestroyTask of an ended task"),
)

Times = dict[str, list[float]]


def main() -> None:
    arguments = parse_arguments("tasks", runs=300, runs_help="tasks of each kind")
    with open_workbench(arguments.raw_exec) as bench:
        trio.run(measure, bench, arguments.runs)


async def measure(bench: Workbench, runs: int) -> None:
    rows: list[tuple[Figure, Figure | None]] = []
    spawned_ms = await executor_starts(bench, runs)
    theirs_ms = await go_executor_starts(bench.theirs, runs) if bench.theirs else None
    executor = "request to an executor's first answer"
    rows.append(
        (
            Figure(executor, "ms", spawned_ms),
            Figure(executor, "ms", theirs_ms) if theirs_ms else None,
        )
    )
    times = await task_lives(bench, runs)
    for key, text in CALLS:
        theirs = times.get("raw_exec")
        rows.append(
            (
                Figure(text, "ms", times["trio"][key]),
                Figure(text, "ms", theirs[key]) if theirs else None,
            )
        )
    print(table(rows))


async def executor_starts(bench: Workbench, runs: int) -> list[float]:
    """From the request to the spawner to the first answer of a new executor, in milliseconds."""
    state = open_state_directory(bench.directory / "executors")
    times_ms: list[float] = []
    async with trio.open_nursery() as nursery:
        # The file runs as one of our console scripts, whose interpreter need not be ours.
        command = [sys.executable, *bench.ours.command, "spawner", "info"]
        spawner = Spawner(state, command, "bench", nursery)
        for number in range(-10, runs):
            request = SpawnRequest(
                task_id=f"task-{number}",
                alloc_id=f"alloc-{number}",
                task_name="task",
                alloc_root="/nowhere",
                driver="trio",
                limits=ProcessLimits.of_this_process(),
            )
            began_s = time.perf_counter()
            await first_answer(spawner, request)
            if number >= 0:
                times_ms.append((time.perf_counter() - began_s) * 1e3)
            run = state.run_of(
                task_id=request.task_id, alloc_id=request.alloc_id, task_name=request.task_name
            )
            await destroy_run(state, run)
        spawner.disconnect()
        nursery.cancel_scope.cancel()
    return times_ms


async def first_answer(spawner: Spawner, request: SpawnRequest) -> None:
    """Fork an executor and ask it something that it must refuse before its task has started."""
    spawned = await spawner.spawn(request)
    question = executor_pb2.Request(signal=executor_pb2.SignalRequest(signum=1))
    payload = question.SerializeToString()
    try:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(spawned.control)) as stream:
            await stream.send_all(len(payload).to_bytes(4, "big") + payload)
            await stream.receive_some(1)
            signal_pidfd(spawned.pidfd, signal.SIGKILL)
    finally:
        os.close(spawned.pidfd)


async def go_executor_starts(candidate: Candidate, runs: int) -> list[float]:
    """The same for Nomad's executor, a process of its own: from exec to its first answer."""
    log_file = os.path.join(os.environ["TMPDIR"], "executor.out")
    options = {"LogFile": log_file, "LogLevel": "debug", "FSIsolation": False}
    command = [*candidate.command, "executor", json.dumps(options)]
    times_ms: list[float] = []
    for _ in range(min(runs, 50)):  # its end takes longer than its start
        began_s = time.perf_counter()
        async with open_plugin(command) as client:
            await client.ping()
            times_ms.append((time.perf_counter() - began_s) * 1e3)
    return times_ms


async def task_lives(bench: Workbench, runs: int) -> dict[str, Times]:
    """Two tasks a turn with each driver: one is stopped, one ends by itself."""
    times: dict[str, Times] = {candidate.name: defaultdict(list) for candidate in bench.candidates}
    async with AsyncExitStack() as stack:
        drivers: list[tuple[str, Driver]] = []
        for candidate in bench.candidates:
            driver = await stack.enter_async_context(open_driver(bench, candidate))
            drivers.append((candidate.name, driver))
        for number in range(-5, runs):
            for name, driver in drivers:
                sample = {**await stopped_life(driver), **await own_end(driver)}
                if number >= 0:
                    for key, value_ms in sample.items():
                        times[name][key].append(value_ms)
    return times


async def stopped_life(driver: Driver) -> dict[str, float]:
    """A task that runs until it is stopped."""
    with driver.new_task("/bin/sleep", "1000") as task:
        await task.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.wait)
            await trio.testing.wait_all_tasks_blocked()
            began_s = time.perf_counter()
            await task.stop()
        task.times_ms["stopped"] = (time.perf_counter() - began_s) * 1e3
        await task.destroy()
    return task.times_ms


async def own_end(driver: Driver) -> dict[str, float]:
    """A task whose workload we end behind the driver's back, which WaitTask must tell."""
    with driver.new_task("/bin/sleep", "1000") as task:
        await task.start()
        pid = await task.workload_pid()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.wait)
            await trio.testing.wait_all_tasks_blocked()
            began_s = time.perf_counter()
            os.kill(pid, signal.SIGTERM)
        ended_ms = (time.perf_counter() - began_s) * 1e3
        await task.stop()
        await task.destroy()
    return {"ended": ended_ms}


if __name__ == "__main__":
    main()
