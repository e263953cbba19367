"""A driver plugin with an agent's half of the protocol and nothing else: for tests of any driver.

    async with open_driver_host(["/path/of/a/plugin"]) as host:
        task = host.new_task({"command": "sleep", "args": ["1000"]})
        await host.start(task)

Rules:
- Each call has a limit: a driver that hangs fails the test that asked, and not the run.
- What the host makes (allocation directories, a state directory) is below one temporary directory,
  and gone with it.
"""

import os
import tempfile
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from google.protobuf.duration_pb2 import Duration

from trio_driver import hcl
from trio_driver._proto import base_pb2, driver_pb2, hclspec_pb2
from trio_driver._proto.base_grpc import BasePluginStub
from trio_driver._proto.driver_grpc import DriverStub
from trio_driver.goplugin import PluginClient, open_plugin

LIMIT_S = 30.0
"""For what takes a healthy driver milliseconds."""

TASK_NAME = "task"

TASK_DIRECTORIES = (
    "alloc/data",
    "alloc/logs",
    "alloc/tmp",
    "task/local",
    "task/secrets",
    "task/tmp",
)
"""Source: nomad-protocol Appendix B.2."""

MEMORY_MB = 256


def nomad_config() -> base_pb2.NomadConfig:
    """What an agent tells of the node, with a speed that is made up; some drivers need it."""
    cores = [
        base_pb2.ClientTopologyCore(core_id=number, base_speed=1000)
        for number in sorted(os.sched_getaffinity(0))
    ]
    topology = base_pb2.ClientTopology(
        node_ids=[0],
        distances=base_pb2.ClientTopologySLIT(dimension=1, values=[10]),
        cores=cores,
    )
    driver = base_pb2.NomadDriverConfig(ClientMinPort=14000, ClientMaxPort=14512, Topology=topology)
    return base_pb2.NomadConfig(driver=driver)


class DriverHost:
    """See the module. `client`, `base` and `driver` are those of the plugin that was launched last."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        plugin_config: Mapping[str, object],
        nursery: trio.Nursery,
    ) -> None:
        self.client: PluginClient
        self.base: BasePluginStub
        self.driver: DriverStub
        self._command = command
        self._directory = directory
        self._plugin_config = plugin_config
        self._task_spec = hclspec_pb2.Spec()
        self._nursery = nursery
        self._leave, self._left = trio.Event(), trio.Event()
        self._left.set()

    async def launch(self) -> None:
        """Start a plugin and bring it to the point where it takes tasks; one that runs is ended first,
        as an agent ends it.

        Raises:
            HandshakeError, RpcError: it does not start, or refuses its configuration.
            trio.TooSlowError: it does not answer.
        """
        await self.end()
        self.client = await self._nursery.start(self._run_plugin)
        self.base, self.driver = (
            BasePluginStub(self.client.channel),
            DriverStub(self.client.channel),
        )
        with trio.fail_after(LIMIT_S):
            spec = (await self.base.ConfigSchema(base_pb2.ConfigSchemaRequest())).spec
            request = base_pb2.SetConfigRequest(
                msgpack_config=hcl.encode(spec, self._own_config(spec)),
                nomad_config=nomad_config(),
                plugin_api_version="v0.1.0",
            )
            await self.base.SetConfig(request)
            schema = await self.driver.TaskConfigSchema(driver_pb2.TaskConfigSchemaRequest())
            self._task_spec = schema.spec

    def _own_config(self, spec: hclspec_pb2.Spec) -> dict[str, object]:
        """A driver of this project keeps its state with the test's."""
        own = {"state_dir": str(self._directory / "state")}
        known = own if "state_dir" in spec.object.attributes else {}
        return {**known, **self._plugin_config}

    async def _run_plugin(
        self, task_status: trio.TaskStatus[PluginClient] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """A plugin, until `end`; a task of its own, for the next one may be launched by another."""
        leave, left = self._leave, self._left = trio.Event(), trio.Event()
        try:
            env = {**os.environ, "TMPDIR": str(self._directory)}
            async with open_plugin(self._command, env=env) as client:
                task_status.started(client)
                await leave.wait()
        finally:
            left.set()

    async def end(self) -> None:
        """End the plugin as an agent does, or what is left of one that was killed."""
        self._leave.set()
        await self._left.wait()

    def new_task(self, config: Mapping[str, object]) -> driver_pb2.TaskConfig:
        """A task in an allocation of its own, with `config` as its config block; without logs."""
        alloc_id = str(uuid.uuid4())
        alloc_dir = self._directory / "alloc" / alloc_id
        for name in TASK_DIRECTORIES:
            (alloc_dir / name).mkdir(parents=True)
        task = driver_pb2.TaskConfig(
            id=f"{alloc_id}/{TASK_NAME}/{uuid.uuid4().hex[:8]}",
            name=TASK_NAME,
            alloc_id=alloc_id,
            alloc_dir=str(alloc_dir),
            env={"PATH": os.environ.get("PATH", os.defpath)},
            msgpack_driver_config=hcl.encode(self._task_spec, dict(config)),
        )
        task.resources.allocated_resources.cpu.cpu_shares = 100
        task.resources.allocated_resources.memory.memory_mb = MEMORY_MB
        task.resources.linux_resources.cpu_shares = 100
        task.resources.linux_resources.memory_limit_bytes = MEMORY_MB << 20
        return task

    async def start(self, task: driver_pb2.TaskConfig) -> driver_pb2.TaskHandle:
        """StartTask. Raises RpcError, TooSlowError; so do the others."""
        with trio.fail_after(LIMIT_S):
            return (await self.driver.StartTask(driver_pb2.StartTaskRequest(task=task))).handle

    async def recover(self, handle: driver_pb2.TaskHandle) -> None:
        """RecoverTask, with the handle as an agent has kept it: without the driver's config."""
        kept = driver_pb2.TaskHandle()
        kept.CopyFrom(handle)
        kept.config.msgpack_driver_config = b""
        with trio.fail_after(LIMIT_S):
            await self.driver.RecoverTask(driver_pb2.RecoverTaskRequest(handle=kept))

    async def wait(self, task_id: str) -> driver_pb2.WaitTaskResponse:
        """WaitTask."""
        with trio.fail_after(LIMIT_S):
            return await self.driver.WaitTask(driver_pb2.WaitTaskRequest(task_id=task_id))

    async def stop(self, task_id: str, *, grace_s: float = 0.0, signal: str = "") -> None:
        """StopTask."""
        timeout = Duration()
        timeout.FromNanoseconds(int(grace_s * 1e9))
        request = driver_pb2.StopTaskRequest(task_id=task_id, timeout=timeout, signal=signal)
        with trio.fail_after(LIMIT_S + grace_s):
            await self.driver.StopTask(request)

    async def destroy(self, task_id: str, *, force: bool = True) -> None:
        """DestroyTask."""
        request = driver_pb2.DestroyTaskRequest(task_id=task_id, force=force)
        with trio.fail_after(LIMIT_S):
            await self.driver.DestroyTask(request)

    async def inspect(self, task_id: str) -> driver_pb2.InspectTaskResponse:
        """InspectTask."""
        with trio.fail_after(LIMIT_S):
            return await self.driver.InspectTask(driver_pb2.InspectTaskRequest(task_id=task_id))

    async def signal(self, task_id: str, name: str) -> None:
        """SignalTask."""
        request = driver_pb2.SignalTaskRequest(task_id=task_id, signal=name)
        with trio.fail_after(LIMIT_S):
            await self.driver.SignalTask(request)


@asynccontextmanager
async def open_driver_host(
    command: Sequence[str], *, plugin_config: Mapping[str, object] | None = None
) -> AsyncGenerator[DriverHost]:
    """A running plugin, configured, for the length of the block.

    Args:
        command: the plugin binary and its arguments.
        plugin_config: its `config` block; a state directory is added where it has one.

    Raises:
        HandshakeError, RpcError: it does not start, or refuses its configuration.

    Leaving the block ends the plugin; tasks that were not destroyed are the driver's to have left.
    """
    with tempfile.TemporaryDirectory(prefix="trio-driver-", ignore_cleanup_errors=True) as name:
        async with trio.open_nursery() as nursery:
            host = DriverHost(command, Path(name), plugin_config or {}, nursery)
            await host.launch()
            yield host
            await host.end()
