"""A host of our own: one state directory, the plugins that use it, and the tasks that an agent
would ask for.

    async with open_host() as host:
        task = host.task("sleep", "60")
        await host.plugin.start(task)
        await host.plugin.kill()
        await host.launch()                     # what an agent does at once when its plugin has
        gone

Rules:
- Leaving the block ends everything as an agent does (DestroyTask for every task that was asked for,
  Shutdown), and then nothing may be left: no process, zombie, cgroup, socket, file, and no
  descriptor in the test.
- If the test failed, everything is killed and removed instead, and the logs are printed.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import trio

from trio_driver import hcl
from trio_driver._proto import base_pb2, driver_pb2, hclspec_pb2
from trio_driver.goplugin import LogRecord, PluginClient, ReattachConfig, open_plugin, reattach
from trio_driver.linux import ProcessId, fd_count
from trio_driver.rpc import RpcError
from trio_driver.state import StateDirectory

from .allocation import Log, make_directories, reading
from .family import Counts, Family, Role, kill, playing_init
from .faults import Faults
from .gate import Gate, open_gate
from .leaks import cgroups_of, files_below, is_spawner_file, remove_cgroups
from .plugin import RunningPlugin
from .report import print_logs
from .task import Task, new_id
from .tier import Host as Tier
from .tier import HostKind, host_of
from .waiting import LIMIT_S, until

PLUGINS = Path(__file__).with_name("plugins")
BUILTIN = PLUGINS / "builtin.py"
FAULTY = PLUGINS / "faulty.py"
SCRIPTED = PLUGINS / "scripted.py"

REPOSITORY = Path(__file__).parents[2]


class Host:
    """See the module; made by `open_host`."""

    def __init__(self, home: Path, plugin_file: Path, tier: Tier, family: Family) -> None:
        self.home = home
        self.state_dir = home / "state"
        self.alloc_root = home / "alloc"
        self.tmp = home / "tmp"
        self.plugin_file = plugin_file
        self.tier = tier
        self.family = family
        self.faults = Faults(home)
        self.tasks: list[Task] = []
        self.plugins: list[RunningPlugin] = []
        self._state = StateDirectory(self.state_dir)
        self._spec = hclspec_pb2.Spec()
        self._pipes = ExitStack()
        self._gate: Gate | None = None
        self.spawner_files: set[str] = set()
        """What a killed spawner left."""
        self._nursery: trio.Nursery | None = None

    @property
    def plugin(self) -> RunningPlugin:
        """The one that was launched last."""
        return self.plugins[-1]

    @property
    def spawner(self) -> ProcessId:
        """The only spawner.

        Raises:
            AssertionError: there is another number of them.
        """
        found = self.family.all_of(Role.SPAWNER)
        assert len(found) == 1, f"one spawner expected:\n{self.family.listing()}"
        return found[0]

    async def launch(
        self,
        *,
        config: Mapping[str, object] | None = None,
        nomad: base_pb2.NomadConfig | None = None,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> RunningPlugin:
        """Start a plugin and configure it as an agent does; those that run already run on.

        Args:
            config: options of the plugin block, beside `state_dir`.
            env: added to the plugin's environment.
            prefix: a command that executes what follows it, before the tier's.
        """
        assert self._nursery is not None
        command = [*prefix, *self.tier.prefix, sys.executable, str(self.plugin_file)]
        log: list[LogRecord] = []
        opening = open_plugin(command, env={**self.environ, **(env or {})}, on_log=log.append)
        plugin: RunningPlugin = await self._nursery.start(self._run_plugin, opening, log)
        self.plugins.append(
            plugin
        )  # first, so that one that refuses its configuration is ended too
        self.family.plugin_pids.add(plugin.process.pid)
        with trio.fail_after(LIMIT_S):
            options = {"state_dir": str(self.state_dir), **(config or {})}
            await plugin.configure(options, nomad or base_pb2.NomadConfig())
            await self.learn_schema(plugin)
        return plugin

    async def reattach(self, config: ReattachConfig) -> RunningPlugin:
        """Connect to a plugin whose agent is dead, as the next agent does; from here on it is ours to end."""
        assert self._nursery is not None
        plugin: RunningPlugin = await self._nursery.start(self._run_plugin, reattach(config), [])
        self.plugins.append(plugin)
        await self.learn_schema(plugin)
        return plugin

    async def learn_schema(self, plugin: RunningPlugin) -> None:
        """What a task's config block may hold."""
        with trio.fail_after(LIMIT_S):
            request = driver_pb2.TaskConfigSchemaRequest()
            self._spec = (await plugin.driver.TaskConfigSchema(request)).spec

    @property
    def environ(self) -> dict[str, str]:
        """The agent's environment."""
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.tmp)}

    async def start(self, task: Task) -> driver_pb2.TaskHandle:
        """StartTask on the last plugin, and wait for what follows its answer: the task is
        committed."""
        handle = await self.plugin.start(task)
        await until(task.run.is_committed, f"{task.id} is committed")
        return handle

    async def kill_spawner(self, *, is_replaced: bool) -> None:
        """SIGKILL the spawner; wait until another one serves if there should be one."""
        dead = self.spawner
        self.spawner_files = {name for name in files_below(self.state_dir) if is_spawner_file(name)}
        before = {path.stat().st_mtime_ns for path in self.state_dir.glob("spawner-*.socket")}
        await kill(dead)
        if is_replaced:
            await until(
                lambda: any(
                    path.stat().st_mtime_ns not in before
                    for path in self.state_dir.glob("spawner-*.socket")
                ),
                "another spawner listens",
            )

    async def begun(self, task: Task) -> None:
        """Wait until the executor of `task` is at work; another fork may be the spawner's rehearsal."""
        await until(lambda: task.run.read_executor() is not None, f"{task.id} has an executor")

    def spawner_may_die(self) -> None:
        """What a killed spawner leaves is no leak: its socket and lock, until somebody sweeps."""
        self.spawner_files = {name for name in files_below(self.state_dir) if is_spawner_file(name)}

    async def shut_down(self, plugin: RunningPlugin | None = None) -> None:
        """End a plugin, by default the last one, as an agent does that stops gracefully."""
        plugin = plugin or self.plugin
        plugin.leave.set()
        with trio.fail_after(LIMIT_S):
            await plugin.left.wait()

    def task(
        self,
        *words: str,
        name: str = "web",
        alloc_id: str = "",
        logs: bool = False,
        user: str = "",
        env: Mapping[str, str] | None = None,
        resources: driver_pb2.Resources | None = None,
        config: Mapping[str, object] | None = None,
    ) -> Task:
        """A task that runs `words`, in a new allocation by default.

        Args:
            logs: make log pipes and read them; else there are none.
            config: options of the task's config block, beside command and args.
        """
        alloc_id = alloc_id or str(uuid.uuid4())
        alloc_dir = self.alloc_root / alloc_id
        make_directories(alloc_dir, name)
        own = {"command": words[0], "args": list(words[1:])} if words else {}
        message = driver_pb2.TaskConfig(
            id=new_id(alloc_id, name),
            name=name,
            alloc_id=alloc_id,
            alloc_dir=str(alloc_dir),
            user=user,
            env={"PATH": os.environ["PATH"], "NOMAD_ALLOC_ID": alloc_id, **(env or {})},
            msgpack_driver_config=hcl.encode(self._spec, {**own, **(config or {})}),
        )
        if resources is not None:
            message.resources.CopyFrom(resources)
        return self._added(message, logs=logs)

    def sh(self, script: str, *, logs: bool = True, **how: object) -> Task:
        """A task that runs a shell script; with logs by default. `how` as for `task`."""
        return self.task("/bin/sh", "-c", script, logs=logs, **how)  # pyright: ignore[reportArgumentType]

    def again(self, task: Task) -> Task:
        """The same task of the same allocation under a new id, as after a restart."""
        message = driver_pb2.TaskConfig()
        message.CopyFrom(task.config)
        message.id = new_id(message.alloc_id, message.name)
        return self._added(message, logs=task.stdout is not None)

    def _added(self, message: driver_pb2.TaskConfig, *, logs: bool) -> Task:
        stdout = stderr = None
        if logs:
            stdout, stderr = self._log(message, "stdout"), self._log(message, "stderr")
            message.stdout_path, message.stderr_path = str(stdout.path), str(stderr.path)
        run = self._state.run_of(
            task_id=message.id, alloc_id=message.alloc_id, task_name=message.name
        )
        task = Task(message, run, stdout, stderr)
        self.tasks.append(task)
        return task

    def _log(self, message: driver_pb2.TaskConfig, stream: str) -> Log:
        assert self._nursery is not None
        directory = Path(message.alloc_dir) / "alloc" / "logs"
        log = self._pipes.enter_context(reading(directory / f".{message.name}.{stream}.fifo"))
        os.chown(log.path, self.tier.uid, -1)
        self._nursery.start_soon(log.read_to_end)
        return log

    @property
    def gate(self) -> dict[str, str]:
        """An environment in which `read go < "$GO"` of a script waits for `open_gate`."""
        if self._gate is None:
            self._gate = self._pipes.enter_context(open_gate(self.home / "gate"))
        return {"GO": str(self._gate.path)}

    def open_gate(self) -> None:
        """Let one script that waits, or will, go on."""
        assert self._gate is not None, "nobody was given the gate"
        self._gate.let_one_through()

    async def becomes(
        self, *, plugins: int = 1, spawners: int = 1, executors: int = 0, workloads: int = 0
    ) -> None:
        """Wait until exactly so many processes live, and no zombie."""
        await self.family.becomes(Counts(plugins, spawners, executors, workloads))

    def files(self) -> list[str]:
        """What is in the state directory beside what a spawner needs."""
        names = files_below(self.state_dir)
        return [
            name
            for name in names
            if name not in ("runs", "locks") and not name.startswith("spawner-")
        ]

    async def nothing_is_left(self) -> None:
        """Wait until no task has left anything, be they all destroyed; plugins and spawner may run.

        Raises:
            AssertionError: the text lists what there is.
        """

        def left() -> list[str]:
            counts = self.family.counts()
            processes = [self.family.listing()] if counts.executors or counts.workloads else []
            return [*processes, *self.files(), *cgroups_of(self.run_names())]

        await until(lambda: not left(), lambda: "nothing is left; there is\n" + "\n".join(left()))

    def run_names(self) -> set[str]:
        """Of every task that was asked for."""
        return {task.run.name for task in self.tasks}

    async def _run_plugin(
        self,
        opening: AbstractAsyncContextManager[PluginClient],
        log: list[LogRecord],
        task_status: trio.TaskStatus[RunningPlugin] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with opening as client:
            plugin = RunningPlugin(client, log)
            task_status.started(plugin)
            await plugin.leave.wait()
        plugin.left.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Plugins and log readers live for the length of the block."""
        failure: BaseException | None = None
        with self._pipes:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    yield
                    await self._end_all()
                except Exception as error:
                    failure = error
                    print_logs(self.plugins, self.state_dir, self.family)
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _end_all(self) -> None:
        """What an agent does with its last tasks and then with its plugin."""
        self.faults.disarm()
        plugin = await self._living_plugin() or await self.launch()
        for task in self.tasks:
            await plugin.destroy(task)
        await self.nothing_is_left()
        for each in self.plugins:
            await self.shut_down(each)

    async def _living_plugin(self) -> RunningPlugin | None:
        for plugin in reversed(self.plugins):
            if not plugin.leave.is_set() and await _answers(plugin):
                return plugin
        return None


async def _answers(plugin: RunningPlugin) -> bool:
    try:
        with trio.fail_after(LIMIT_S):
            await plugin.client.ping()
    except (RpcError, OSError):
        return False
    return True


@asynccontextmanager
async def open_host(
    plugin_file: Path = BUILTIN,
    *,
    kind: HostKind = HostKind.NATIVE,
    launch: bool = True,
    config: Mapping[str, object] | None = None,
) -> AsyncGenerator[Host]:
    """A host for the length of the block; see the module.

    Args:
        plugin_file: what the agent finds in its plugin_dir.
        launch: start a plugin, with `config` for its options.
    """
    tier = host_of(kind)
    assert tier is not None, f"this host cannot be {kind}"
    fds = fd_count()
    home = Path(tempfile.mkdtemp(prefix="td-", dir="/tmp"))
    with playing_init() as family:
        host = Host(home, plugin_file, tier, family)
        try:
            _make_home(host)
            async with host.running():
                if launch:
                    await host.launch(config=config)
                yield host
            await family.becomes(Counts())
            assert files_below(host.tmp) == [], "a plugin's socket is left"
            left = {name for name in files_below(host.state_dir) if not name.endswith(".log")}
            assert left - host.spawner_files == {"locks", "runs"}, "the last spawner left files"
            assert fd_count() == fds, "a descriptor is left in the test"
        finally:
            await _wipe(host)  # noqa: ASYNC102 - its shield is inside


def _make_home(host: Host) -> None:
    for path in (host.home, host.tmp, host.alloc_root):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        os.chown(path, host.tier.uid, -1)


async def _wipe(host: Host) -> None:
    """Leave nothing, whatever happened. Does nothing after a test that left nothing itself."""
    # Shield: a cancelled test must not leave processes to the next one. Ends by: SIGKILL, at the
    # latest after LIMIT_S.
    with trio.move_on_after(LIMIT_S, shield=True):
        with contextlib.suppress(AssertionError):
            await until(lambda: not host.family.kill_all(), "everybody is gone")
        await remove_cgroups(host.run_names())
    shutil.rmtree(host.home, ignore_errors=True)
