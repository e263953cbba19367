"""What an operator sees of two drivers: the same jobs on one real agent, `trio` and `raw_exec` by
turns.

python -m bench.agent [--tasks 1,10,100] [--rounds N] [--window-s S]

Needs `nomad` on PATH and root. Helpers are the processes that a driver adds: plugin, spawner and
executors here, Nomad's executors there; the log collectors, which all drivers have, and the agent
are told apart. Statistics are on (`publish_allocation_metrics`, each second).
"""

import argparse
import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio

from bench.figures import Figure, table
from bench.memory import pss_mb
from tests.agent.installation import PluginConfig, install
from tests.agent.nomad import CLIENT, Node, NomadProcess, Server, open_home
from trio_driver.linux import descendants_of

JOB_FILE = Path(__file__).with_name("sleepers.nomad.hcl")

DRIVERS = ("trio", "raw_exec")

LIMIT_S = 300.0
"""For a hundred tasks to start or to stop on a busy host."""

SETTLE_S = 3.0
"""After the last start, before the CPU time of helpers is looked at."""

LOOK_AGAIN_S = 0.02

NS_PER_MS = 1e6

Samples = dict[tuple[str, int, str], dict[str, list[float]]]
"""Values by (figure, tasks, unit), then by driver."""


class Event(msgspec.Struct, frozen=True, rename="pascal"):
    """A line of a task's history; `time` in nanoseconds since the epoch."""

    type: str
    time: int


class TaskState(msgspec.Struct, frozen=True, rename="pascal"):
    """One task of an allocation."""

    state: str
    events: list[Event] | None = None

    def time_of(self, event_type: str) -> int:
        return next(event.time for event in self.events or [] if event.type == event_type)


class Allocation(msgspec.Struct, frozen=True, rename="pascal"):
    """An allocation as the server last heard of it."""

    client_status: str
    task_states: dict[str, TaskState] | None = None

    @property
    def task(self) -> TaskState | None:
        return (self.task_states or {}).get("task")


class BothDriversAgent(NomadProcess):
    """A client agent with `trio` as an operator installs it, and its own `raw_exec` enabled."""

    def __init__(self, home: Path, server: Server) -> None:
        config = CLIENT.format(server_port=server.rpc_port, driver=",".join(DRIVERS))
        config += PluginConfig().hcl(home / "state")
        config += 'plugin "raw_exec" {\n  config {\n    enabled = true\n  }\n}\n'
        super().__init__(home, config, home.name)
        install(home / "plugins", home)

    async def start(self) -> None:
        """Start it, and wait until both drivers take tasks."""
        self.launch()
        await self.wait_log("node registration complete")
        node_id = (await self.api.get("/agent/self", _AgentSelf)).stats["client"]["node_id"]
        await self.api.when(f"/node/{node_id}", Node, _has_both, wanted="both drivers are healthy")


class _AgentSelf(msgspec.Struct, frozen=True):
    stats: dict[str, dict[str, str]]


def _has_both(node: Node) -> bool:
    found = [node.drivers.get(name) for name in DRIVERS]
    return all(driver is not None and driver.healthy for driver in found)


class Round:
    """One job of one driver on the agent, from its registration to its end."""

    def __init__(self, agent: BothDriversAgent, driver: str, tasks: int, samples: Samples) -> None:
        self._agent = agent
        self._driver = driver
        self._tasks = tasks
        self._samples = samples
        self._job_id = f"sleepers-{driver}-{tasks}-{time.monotonic_ns()}"

    async def run(self, window_s: float) -> None:
        """Start the tasks, look at the helpers for `window_s`, stop the tasks."""
        for state in await self._start():
            ms = (state.time_of("Started") - state.time_of("Task Setup")) / NS_PER_MS
            self._add("task set-up to started", "ms", ms)
        await trio.sleep(SETTLE_S)
        helpers = self._helpers()
        self._add("helpers, PSS a task", "MB", sum(map(pss_mb, helpers)) / self._tasks)
        before, began_s = self._cpu_ms(helpers), time.monotonic()
        await trio.sleep(window_s)
        busy_ms = self._cpu_ms(helpers) - before
        a_task_second = (time.monotonic() - began_s) * self._tasks
        self._add("helpers, CPU a task and second", "ms", busy_ms / a_task_second)
        began_s = time.monotonic()
        await self._stop()
        self._add("all tasks stopped", "s", time.monotonic() - began_s)

    def _add(self, name: str, unit: str, value: float) -> None:
        self._samples[name, self._tasks, unit][self._driver].append(value)

    async def _start(self) -> list[TaskState]:
        api = self._agent.api
        variables = f'driver = "{self._driver}"\ncount = {self._tasks}\n'
        body = {"JobHCL": JOB_FILE.read_text(), "Canonicalize": True, "Variables": variables}
        spec = await api.put("/jobs/parse", body)
        spec["ID"] = spec["Name"] = self._job_id
        spec["Datacenters"] = [self._agent.name]
        await api.put("/jobs", {"Job": spec})

        def all_run(found: list[Allocation]) -> bool:
            states = [each.task for each in found]
            running = sum(state is not None and state.state == "running" for state in states)
            return running == self._tasks

        found = await api.when(
            f"/job/{self._job_id}/allocations",
            list[Allocation],
            all_run,
            wanted=f"{self._tasks} running tasks of {self._driver}",
            limit_s=LIMIT_S,
        )
        return [each.task for each in found if each.task is not None]

    async def _stop(self) -> None:
        """Until Nomad knows that all have ended, and no executor is left."""
        await self._agent.api.delete(f"/job/{self._job_id}")
        await self._agent.api.when(
            f"/job/{self._job_id}/allocations",
            list[Allocation],
            lambda found: all(each.client_status == "complete" for each in found),
            wanted="the end of all tasks",
            limit_s=LIMIT_S,
        )
        with trio.fail_after(LIMIT_S):
            while len(self._helpers()) > (2 if self._driver == "trio" else 0):
                await trio.sleep(LOOK_AGAIN_S)
        await self._agent.api.delete(f"/job/{self._job_id}", purge="true")
        await self._agent.api.put("/system/gc")

    def _helpers(self) -> list[int]:
        is_helper = _is_ours if self._driver == "trio" else _is_nomads_executor
        return [pid for pid in descendants_of(self._agent.pid) if is_helper(pid)]

    def _cpu_ms(self, pids: Iterable[int]) -> float:
        return sum(map(_cpu_ns, pids)) / NS_PER_MS


def _is_ours(pid: int) -> bool:
    name = _read(pid, "comm").strip()
    return name in ("trio-plugin", "trio-spawner", "trio-executor")


def _is_nomads_executor(pid: int) -> bool:
    return _read(pid, "cmdline").split("\0")[1:2] == ["executor"]


def _cpu_ns(pid: int) -> int:
    """Time on a processor of all threads. Source: proc(5), schedstat."""
    threads = os.listdir(f"/proc/{pid}/task")
    return sum(int(_read(pid, f"task/{thread}/schedstat").split()[0]) for thread in threads)


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def figures_of(samples: Samples) -> list[tuple[Figure, Figure | None]]:
    """A row for each figure and number of tasks."""
    rows: list[tuple[Figure, Figure | None]] = []
    for (name, tasks, unit), by_driver in samples.items():
        label = f"{name}, {tasks} task{'s' if tasks > 1 else ''}"
        ours, theirs = (Figure(label, unit, by_driver[driver]) for driver in DRIVERS)
        rows.append((ours, theirs))
    return rows


async def measure(arguments: argparse.Namespace, agent: BothDriversAgent) -> Samples:
    """All rounds, the drivers by turns, so that a busy minute of the host meets both."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    for tasks in arguments.tasks:
        for number in range(arguments.rounds):
            for driver in DRIVERS if number % 2 == 0 else reversed(DRIVERS):
                print(f"{driver}: {tasks} tasks, round {number + 1}", file=sys.stderr)
                await Round(agent, driver, tasks, samples).run(arguments.window_s)
    return samples


async def run(arguments: argparse.Namespace, server: Server, agent: BothDriversAgent) -> None:
    """Everything between the start and the end of server and agent."""
    await server.start()
    await agent.start()
    samples = await measure(arguments, agent)
    print(table(figures_of(samples)))
    await agent.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.agent")
    parser.add_argument(
        "--tasks",
        type=lambda text: [int(word) for word in text.split(",")],
        default=[1, 10, 100],
        help="how many tasks at the same time, one after the other (default 1,10,100)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each driver (default 3)")
    parser.add_argument(
        "--window-s", type=float, default=20.0, help="CPU time is taken so long (default 20)"
    )
    arguments = parser.parse_args()
    if shutil.which("nomad") is None or os.geteuid() != 0:
        sys.exit("bench.agent needs `nomad` on PATH, and root")
    with open_home() as server_home, open_home() as home:
        server = Server(server_home)
        agent = BothDriversAgent(home, server)
        try:
            trio.run(run, arguments, server, agent)
        finally:
            agent.end()
            server.end()


if __name__ == "__main__":
    main()
