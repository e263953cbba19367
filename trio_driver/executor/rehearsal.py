"""What a spawner does once, so that its forks need not do it first: the whole life of an executor,
with an empty task.

The first call of anything costs several times the second: decoders are built, message classes made,
code specialised; in a fork, each of these also copies the pages that it touches. Rehearsed before
the first fork, it is paid once and shared.

Rules:
- It is the real thing, in a state directory of its own, with a task that runs `true` without a
  cgroup.
- Nothing is left of it. One that fails is a warning and slower starts, never a spawner that does
  not start.
"""

import logging
import os
import socket
from functools import partial
from pathlib import Path

import trio

from trio_driver._proto import driver_pb2, executor_pb2
from trio_driver.executor.containment import host_plan
from trio_driver.executor.frames import receive_message, send_message
from trio_driver.executor.main import Executor, WriteExit
from trio_driver.executor.plan import ContainmentPlan
from trio_driver.executor.task_run import TaskBody, TaskRun
from trio_driver.linux import identify
from trio_driver.model import TaskExit, TaskOptions, TaskSpec
from trio_driver.spawner import ProcessLimits, SpawnRequest
from trio_driver.state import Tier, open_state_directory

LOGGER = logging.getLogger("trio_driver.executor")

LIMIT_S = 5.0
"""A rehearsal takes some 50 ms, and 12 ms when it was done before."""

REHEARSALS = 8
"""The interpreter writes to a function's code until that has been run some eight times: an executor's private memory
is 0.2 MB less than after one rehearsal, and no less after more. Source: CPython 3.11, adaptive instructions."""


class _EmptyBody:
    """A task that runs `true`."""

    def __init__(self, body: TaskBody) -> None:
        self._body = body

    def warm_up(self) -> None:
        self._body.warm_up()

    def prepare(self, task_run: TaskRun) -> TaskOptions:
        return TaskOptions()

    async def run(self, task_run: TaskRun) -> TaskExit:
        async with task_run.open_workload("true", [], work_dir="/") as workload:
            return await workload.wait()

    async def stop(self, task_run: TaskRun, signum: int) -> None:
        pass

    def signal(self, task_run: TaskRun, signum: int) -> None:
        pass


def rehearse(body: TaskBody, directory: Path) -> None:
    """Run an executor's life in this process, which must have one thread and no children.

    Args:
        directory: is empty, and whoever made it removes it with all that is in it.
    """
    level = LOGGER.level
    LOGGER.setLevel(logging.CRITICAL)
    try:
        body.warm_up()
        for _ in range(REHEARSALS):
            _rehearse_in(directory, body)
    except Exception as error:
        logging.getLogger("trio_driver.spawner").warning("the rehearsal failed: %r", error)
    finally:
        LOGGER.setLevel(level)


def _rehearse_in(directory: Path, body: TaskBody) -> None:
    state = open_state_directory(directory)
    request = SpawnRequest(
        task_id="rehearsal",
        alloc_id="rehearsal",
        task_name="rehearsal",
        alloc_root=str(directory),
        driver="rehearsal",
        limits=ProcessLimits.of_this_process(),
    )
    process = identify(os.getpid())
    assert process is not None, "this process exists"
    run = state.run_of(task_id="rehearsal", alloc_id="rehearsal", task_name="rehearsal")
    run.create()
    ours, theirs = socket.socketpair()
    executor = Executor(
        run, request, process, _EmptyBody(body), plan_containment=_plan_nothing, leave=_stay
    )
    with run.reserve_exit() as write_exit:
        trio.run(partial(_play, executor, ours, theirs, write_exit))
    run.remove()


def _stay() -> None:
    """This process is not an executor."""


def _plan_nothing(run_name: str, spec: TaskSpec, options: TaskOptions) -> ContainmentPlan:
    host_plan(run_name, spec, options)  # only looks
    return ContainmentPlan(tier=Tier.NONE)


async def _play(
    executor: Executor, ours: socket.socket, theirs: socket.socket, write_exit: WriteExit
) -> None:
    """The executor and its plugin's half of the connection, in one process."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(executor.main, theirs, write_exit)
            async with stream:
                task = driver_pb2.TaskConfig(id="rehearsal", name="rehearsal", env={"A": "B"})
                task.resources.allocated_resources.memory.memory_mb = 1
                request = executor_pb2.StartRequest(task=task)
                await send_message(stream, executor_pb2.Request(start=request))
                await receive_message(stream, executor_pb2.Answer)
