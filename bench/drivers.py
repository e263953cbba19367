"""The drivers that are compared, and what an agent does with one.

Launch, configure, start and end tasks, in the order of nomad-protocol §2.3.
"""

import os
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from bench.host import Cgroups, open_cgroups, open_log_pipes
from trio_driver import hcl
from trio_driver._proto import base_grpc, base_pb2, driver_grpc, driver_pb2, hclspec_pb2
from trio_driver.goplugin import LogRecord, PluginClient, open_plugin
from trio_driver.testing.driver_host import nomad_config

API_VERSION = "v0.1.0"

MEMORY_MB = 64
"""The limit of a task: far above what it uses."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A driver plugin that takes part."""

    name: str
    command: Sequence[str]
    config: dict[str, object]


@dataclass(slots=True)
class Workbench:
    """Directories and candidates of one measurement."""

    directory: Path
    cgroups: Cgroups
    stdout_path: str
    stderr_path: str
    ours: Candidate
    theirs: Candidate | None

    @property
    def candidates(self) -> list[Candidate]:
        return [self.ours] if self.theirs is None else [self.ours, self.theirs]

    @property
    def state_dir(self) -> Path:
        """Where our driver keeps its records."""
        return self.directory / "state"


@contextmanager
def open_workbench(
    raw_exec: str | None, *, plugin_file: Path | None = None
) -> Generator[Workbench]:
    """Prepare the host; everything is removed afterwards.

    Args:
        raw_exec: path of a plugin binary that serves raw_exec; None measures ours alone.
        plugin_file: our plugin, if it is to be another than the console script.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name,
        open_cgroups() as cgroups,
        open_log_pipes(Path(name)) as (stdout_path, stderr_path),
    ):
        directory = Path(name)
        # Plugins put their sockets there.
        os.environ["TMPDIR"] = name
        # Nomad's executor leaves files in its current directory.
        os.chdir(directory)
        # The bytecode of a driver in use has been written long ago.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        plugin_file = plugin_file or console_script(directory)
        ours = Candidate("trio", [str(plugin_file)], {"state_dir": str(directory / "state")})
        theirs = Candidate("raw_exec", [raw_exec], {"enabled": True}) if raw_exec else None
        yield Workbench(directory, cgroups, stdout_path, stderr_path, ours, theirs)


def console_script(directory: Path) -> Path:
    """The console script of this environment, or one like it where the project is not installed."""
    installed = Path(sys.executable).with_name("trio-driver")
    if installed.exists():
        return installed
    call = "from trio_driver.cli.main import main\nmain()"
    return plugin_script(directory / "trio-driver", call)


def plugin_script(path: Path, call: str) -> Path:
    """An executable file that runs `call` with this interpreter and this source tree."""
    project = Path(__file__).resolve().parents[1]
    path.write_text(
        f"#!{sys.executable}\nimport sys\n\nsys.path.insert(0, {str(project)!r})\n{call}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@dataclass(slots=True)
class Driver:
    """A plugin that takes tasks."""

    client: PluginClient
    stub: driver_grpc.DriverStub
    _bench: Workbench
    _task_schema: hclspec_pb2.Spec

    @property
    def pid(self) -> int:
        return self.client.process.pid

    @contextmanager
    def new_task(self, command: str, *args: str) -> Generator["Task"]:
        """What an agent prepares before StartTask, for the length of the block."""
        task = Task(self.stub, self._task_config(command, args))
        cgroups = self._bench.cgroups.of_task(task.config.alloc_id, task.config.name)
        task.config.resources.linux_resources.cpuset_cgroup = cgroups.cpuset_cgroup
        Path(task.config.alloc_dir, task.config.name, "local").mkdir(parents=True)
        cgroups.make()
        try:
            yield task
        finally:
            cgroups.remove()

    def _task_config(self, command: str, args: Sequence[str]) -> driver_pb2.TaskConfig:
        alloc_id = str(uuid.uuid4())
        options = {"command": command, "args": list(args)}
        config = driver_pb2.TaskConfig(
            id=f"{alloc_id}/task/{uuid.uuid4().hex[:8]}",
            name="task",
            job_name="bench",
            task_group_name="bench",
            alloc_id=alloc_id,
            node_name="bench",
            namespace="default",
            alloc_dir=str(self._bench.directory / "alloc" / alloc_id),
            env={"PATH": os.defpath, "NOMAD_ALLOC_ID": alloc_id},
            stdout_path=self._bench.stdout_path,
            stderr_path=self._bench.stderr_path,
            msgpack_driver_config=hcl.encode(self._task_schema, options),
        )
        config.resources.allocated_resources.cpu.cpu_shares = 100
        config.resources.allocated_resources.memory.memory_mb = MEMORY_MB
        config.resources.linux_resources.cpu_shares = 100
        config.resources.linux_resources.memory_limit_bytes = MEMORY_MB << 20
        return config


@dataclass(slots=True)
class Task:
    """One task, and how long each call for it took, in milliseconds."""

    stub: driver_grpc.DriverStub
    config: driver_pb2.TaskConfig
    handle: driver_pb2.TaskHandle | None = None
    times_ms: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def timed(self, name: str) -> Generator[None]:
        began_s = time.perf_counter()
        yield
        self.times_ms[name] = (time.perf_counter() - began_s) * 1e3

    async def start(self) -> None:
        """StartTask.

        Raises:
            RuntimeError: the driver says that it failed.
        """
        with self.timed("StartTask"):
            response = await self.stub.StartTask(driver_pb2.StartTaskRequest(task=self.config))
        if response.result != driver_pb2.StartTaskResponse.SUCCESS:
            raise RuntimeError(f"StartTask: {response.driver_error_msg}")
        self.handle = response.handle

    async def wait(self) -> driver_pb2.WaitTaskResponse:
        """WaitTask."""
        request = driver_pb2.WaitTaskRequest(task_id=self.config.id)
        return await self.stub.WaitTask(request)

    async def stop(self, *, signal: str = "SIGKILL", grace_s: int = 0) -> None:
        """StopTask."""
        request = driver_pb2.StopTaskRequest(task_id=self.config.id, signal=signal)
        request.timeout.seconds = grace_s
        with self.timed("StopTask"):
            await self.stub.StopTask(request)

    async def destroy(self) -> None:
        """DestroyTask."""
        request = driver_pb2.DestroyTaskRequest(task_id=self.config.id, force=True)
        with self.timed("DestroyTask"):
            await self.stub.DestroyTask(request)

    async def workload_pid(self) -> int:
        """InspectTask, for the one attribute that both drivers have."""
        request = driver_pb2.InspectTaskRequest(task_id=self.config.id)
        return int((await self.stub.InspectTask(request)).driver.attributes["pid"])


@asynccontextmanager
async def open_driver(
    bench: Workbench, candidate: Candidate, *, on_log: Callable[[LogRecord], None] = lambda _: None
) -> AsyncGenerator[Driver]:
    """Launch a plugin and bring it to the point where it takes tasks; leaving the block ends it."""
    async with open_plugin(candidate.command, on_log=on_log) as client:
        base = base_grpc.BasePluginStub(client.channel)
        schema = await base.ConfigSchema(base_pb2.ConfigSchemaRequest())
        request = base_pb2.SetConfigRequest(
            msgpack_config=hcl.encode(schema.spec, candidate.config),
            nomad_config=nomad_config(),
            plugin_api_version=API_VERSION,
        )
        await base.SetConfig(request)
        stub = driver_grpc.DriverStub(client.channel)
        task_schema = await stub.TaskConfigSchema(driver_pb2.TaskConfigSchemaRequest())
        async with trio.open_nursery() as nursery:
            await nursery.start(_hold_fingerprint, stub)
            nursery.start_soon(_hold_events, stub)
            yield Driver(client, stub, bench, task_schema.spec)
            nursery.cancel_scope.cancel()


async def _hold_fingerprint(
    stub: driver_grpc.DriverStub, *, task_status: trio.TaskStatus[None]
) -> None:
    async with stub.Fingerprint(driver_pb2.FingerprintRequest()) as fingerprints:
        first = await anext(fingerprints)
        if first.health != driver_pb2.FingerprintResponse.HEALTHY:
            raise RuntimeError(f"the driver is not healthy: {first.health_description}")
        task_status.started()
        await trio.sleep_forever()


async def _hold_events(stub: driver_grpc.DriverStub) -> None:
    async with stub.TaskEvents(driver_pb2.TaskEventsRequest()) as events:
        async for _ in events:
            pass
