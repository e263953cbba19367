"""Jobs of `jobs/*.nomad.hcl` on one agent: register, watch, read, signal, stop.

Rules:
- A job file is one that `nomad job run` takes as it is. Here the job gets an id of its own, the
  agent's datacenter, and the driver under test.
- A wait names its condition, and fails with all that Nomad knows of the allocation.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from .api import AllocationState, ApiError, TaskState
from .installation import DRIVER
from .nomad import Agent
from .waiting import LIMIT_S, LOOK_AGAIN_S, file_holds, within

JOB_DIR = Path(__file__).parent / "jobs"

TASK = "task"
"""The name of the only task in every job file."""

_numbers = itertools.count(1)


class _Memory(msgspec.Struct, frozen=True):
    rss: int = msgspec.field(name="RSS", default=0)


class _Usage(msgspec.Struct, frozen=True, rename="pascal"):
    memory_stats: _Memory


class _TaskStatistics(msgspec.Struct, frozen=True, rename="pascal"):
    resource_usage: _Usage


class _Statistics(msgspec.Struct, frozen=True, rename="pascal"):
    tasks: dict[str, _TaskStatistics | None]


@dataclass(frozen=True, slots=True)
class Allocation:
    """One allocation."""

    agent: Agent
    id: str

    @property
    def path(self) -> Path:
        return self.agent.alloc_dir / self.id

    async def state(self) -> AllocationState:
        return await self.agent.api.get(f"/allocation/{self.id}", AllocationState)

    async def when(
        self,
        condition: Callable[[TaskState], bool],
        wanted: str,
        *,
        task: str = TASK,
        limit_s: float = LIMIT_S,
    ) -> TaskState:
        """The task's state as soon as `condition` holds for it."""

        def holds(allocation: AllocationState) -> bool:
            state = allocation.task(task)
            return state is not None and condition(state)

        path = f"/allocation/{self.id}"
        seen = await self.agent.api.when(
            path, AllocationState, holds, wanted=wanted, limit_s=limit_s
        )
        state = seen.task(task)
        assert state is not None
        return state

    async def when_running(self, task: str = TASK) -> TaskState:
        return await self.when(lambda state: state.state == "running", "a running task", task=task)

    async def when_dead(self, task: str = TASK, *, limit_s: float = LIMIT_S) -> TaskState:
        return await self.when(
            lambda state: state.state == "dead", "a dead task", task=task, limit_s=limit_s
        )

    async def when_events(self, event_type: str, count: int = 1, *, task: str = TASK) -> TaskState:
        """The task's state as soon as it has `count` events of this type."""
        wanted = f"{count} events of type {event_type}"
        return await self.when(
            lambda state: len(state.of_type(event_type)) >= count, wanted, task=task
        )

    async def output(self, *, until: bytes, task: str = TASK, stream: str = "stdout") -> bytes:
        """What the task has written to `stream`, from its start up to the first `until`."""
        await self.when(lambda state: state.state != "pending", "a started task", task=task)
        query = {"task": task, "type": stream, "follow": "true", "plain": "true"}
        async with within(LIMIT_S, f"{until!r} on {stream}", lambda: "no such output"):
            while True:
                try:
                    return await self.agent.api.read_until(
                        f"/client/fs/logs/{self.id}", until, **query
                    )
                except ApiError as error:
                    if error.status != 404:
                        raise
                # Until logmon has made the file.
                await trio.sleep(LOOK_AGAIN_S)
        raise AssertionError("unreachable: `within` raises")

    async def first_pid(self, task: str = TASK) -> int:
        """The pid that the task wrote as its first line."""
        return int((await self.output(until=b"\n", task=task)).split()[0])

    async def signal(self, name: str, task: str = "") -> None:
        """What `nomad alloc signal -s NAME` does.

        Raises:
            ApiError: with the driver's text.
        """
        await self.agent.api.put(
            f"/client/allocation/{self.id}/signal", {"Signal": name, "Task": task}
        )

    async def memory_bytes(self) -> int:
        """The task's resident memory, as `nomad alloc status -stats` shows it; 0 while unknown."""
        stats = await self.agent.api.get(f"/client/allocation/{self.id}/stats", _Statistics)
        tasks = [task for task in stats.tasks.values() if task is not None]
        return sum(task.resource_usage.memory_stats.rss for task in tasks)

    async def restart(self) -> None:
        """What `nomad alloc restart` does: stop and start the tasks, whatever their policy."""
        await self.agent.api.put(f"/client/allocation/{self.id}/restart", {})

    def local_file(self, name: str) -> Path:
        """A file in the task's own `local` directory."""
        return self.path / TASK / "local" / name


@dataclass(frozen=True, slots=True)
class Job:
    """A registered job."""

    agent: Agent
    id: str

    async def allocations(self, count: int = 1) -> list[Allocation]:
        """The job's allocations, as soon as there are at least `count`."""
        path = f"/job/{self.id}/allocations"
        wanted = f"{count} allocations of {self.id}"
        states = await self.agent.api.when(
            path, list[AllocationState], lambda found: len(found) >= count, wanted=wanted
        )
        return [Allocation(self.agent, state.id) for state in states]

    async def running(self) -> int:
        """How many of the job's allocations run, as far as Nomad knows."""
        states = await self.agent.api.get(f"/job/{self.id}/allocations", list[AllocationState])
        return sum(state.client_status == "running" for state in states)

    async def allocation(self) -> Allocation:
        """The only allocation."""
        (allocation,) = await self.allocations()
        return allocation

    async def stop(self, *, limit_s: float = LIMIT_S) -> list[AllocationState]:
        """Stop the job and wait until each of its allocations has ended."""
        await self.agent.api.delete(f"/job/{self.id}")
        return await self.agent.api.when(
            f"/job/{self.id}/allocations",
            list[AllocationState],
            lambda found: all(state.is_terminal for state in found),
            wanted=f"the end of all allocations of {self.id}",
            limit_s=limit_s,
        )

    async def purge(self) -> None:
        """Have the server forget the stopped job, so that its allocations are garbage."""
        await self.agent.api.delete(f"/job/{self.id}", purge="true")


async def run_job(agent: Agent, name: str, **variables: object) -> Job:
    """Register `jobs/<name>.nomad.hcl` for this agent alone, with values for its variables."""
    text = (JOB_DIR / f"{name}.nomad.hcl").read_text()
    values = "\n".join(
        f"{key} = {msgspec.json.encode(value).decode()}" for key, value in variables.items()
    )
    spec = await agent.api.put(
        "/jobs/parse", {"JobHCL": text, "Canonicalize": True, "Variables": values}
    )
    spec["ID"] = spec["Name"] = f"{name}-{next(_numbers)}-{agent.name}"
    spec["Datacenters"] = [agent.name]
    for group in spec["TaskGroups"]:
        for task in group["Tasks"]:
            task["Driver"] = DRIVER
    await agent.api.put("/jobs", {"Job": spec})
    return Job(agent, spec["ID"])


class _JobStub(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="ID")


async def purge_all(agent: Agent) -> list[str]:
    """Stop and purge all jobs of this agent; wait until it has removed all allocations.

    Returns:
        The ids of the allocations that there were.
    """
    allocation_ids: list[str] = []
    stubs = await agent.api.get("/jobs", list[_JobStub])
    for job in [Job(agent, stub.id) for stub in stubs if stub.id.endswith(agent.name)]:
        allocation_ids += [state.id for state in await job.stop()]
        await job.purge()
    await _collect_garbage(agent)
    return allocation_ids


async def _collect_garbage(agent: Agent) -> None:
    """Have the server forget ended allocations, again while evaluations are open."""

    def directories() -> list[str]:
        return [path.name for path in agent.alloc_dir.iterdir()]

    async with within(LIMIT_S, "the removal of all allocation directories", directories):
        while directories():
            await agent.api.put("/system/gc")
            with trio.move_on_after(1):
                await file_holds(
                    agent.alloc_dir / "*", lambda _: not directories(), "no allocation directory"
                )


async def run_with(agent: Agent, name: str, **variables: object) -> Allocation:
    """Register a job and return its only allocation."""
    job = await run_job(agent, name, **variables)
    return await job.allocation()
