"""The guardian: ends what a run leaves when `trio-driver run` itself is killed.

An agent that is killed comes back, so its tasks and its plugin live on. Nobody comes back after a
command line: without this process a `kill -9` of ours would leave the task running for ever.

Rules:
- It is forked before anything else exists, and learns what there is through a pipe. The pipe's end
  without `done` is the run's death.
- It then does what an agent would: reattach, destroy the tasks, shut the plugin down, remove the
  directory. What is left of our own driver's runs is ended from disk.
- It holds none of the run's descriptors, so that nobody waits for it.

Must not know: jobs, terminals.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from trio_driver._proto import driver_grpc, driver_pb2
from trio_driver.goplugin import ReattachConfig, ReattachError, reattach
from trio_driver.linux import close_all_except, set_name
from trio_driver.rpc import RpcError
from trio_driver.state import (
    RecordError,
    StateDirectoryError,
    StuckError,
    default_path,
    destroy_run,
    open_state_directory,
)

LIMIT_S = 30.0
"""For all of the cleanup; what hangs for longer is not ours to wait for."""


class _Note(msgspec.Struct, omit_defaults=True):
    """One thing that there is; a line on the pipe."""

    plugin: str = ""
    task: str = ""
    directory: str = ""
    state_dir: str = ""
    done: bool = False


@dataclass(slots=True)
class _Estate:
    """What the run has said there is."""

    plugin: str = ""
    tasks: list[str] = field(default_factory=list[str])
    directory: str = ""
    state_dir: str = ""
    done: bool = False

    def add(self, note: _Note) -> None:
        self.plugin = note.plugin or self.plugin
        self.directory = note.directory or self.directory
        self.state_dir = note.state_dir or self.state_dir
        self.done = self.done or note.done
        if note.task:
            self.tasks.append(note.task)


class Guardian:
    """The run's end of the pipe; see `open_guardian`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def plugin(self, config: ReattachConfig) -> None:
        """This is the plugin from now on."""
        self._tell(_Note(plugin=config.encode()))

    def task(self, task_id: str) -> None:
        """A task with this id may exist from now on."""
        self._tell(_Note(task=task_id))

    def directory(self, path: Path) -> None:
        """The parent of the allocation's directory, which is ours to remove."""
        self._tell(_Note(directory=str(path)))

    def state_dir(self, path: str) -> None:
        """The state directory that the plugin was told to use; empty for the default."""
        self._tell(_Note(state_dir=path))

    def done(self) -> None:
        """Nothing is left to be ended."""
        self._tell(_Note(done=True))

    def _tell(self, note: _Note) -> None:
        with contextlib.suppress(BrokenPipeError):  # it was killed; the run goes on without one
            os.write(self._fd, msgspec.json.encode(note) + b"\n")


@contextmanager
def open_guardian() -> Generator[Guardian]:
    """A guardian for the length of the block; must be entered before there are threads.

    Leaving the block in any way says that nothing is left: only a death that leaves no block makes
    it act.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_guardian(reader)
    os.close(reader)
    guardian = Guardian(writer)
    try:
        yield guardian
    finally:
        guardian.done()
        os.close(writer)
        os.waitpid(pid, 0)


def _be_guardian(reader: int) -> None:
    """In the fork: wait for the end of the run; never returns."""
    try:
        set_name("trio-guardian")
        os.setsid()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        close_all_except({0, 1, 2, reader})
        estate = _read_estate(reader)
        if not estate.done:
            trio.run(_clean_up, estate)
    finally:
        os._exit(0)


def _read_estate(reader: int) -> _Estate:
    estate = _Estate()
    with os.fdopen(reader, "rb") as notes:
        for line in notes:
            with contextlib.suppress(msgspec.DecodeError):  # the last one may be cut off
                estate.add(msgspec.json.decode(line, type=_Note))
    return estate


async def _clean_up(estate: _Estate) -> None:
    with trio.move_on_after(LIMIT_S):
        if estate.plugin:
            await _end_plugin(estate)
        if estate.directory:
            await _end_runs(estate)
    if estate.directory:
        shutil.rmtree(estate.directory, ignore_errors=True)


async def _end_plugin(estate: _Estate) -> None:
    """Destroy the tasks through the plugin that is left, then end it."""
    with contextlib.suppress(ReattachError, OSError):
        async with reattach(ReattachConfig.decode(estate.plugin)) as client:
            stub = driver_grpc.DriverStub(client.channel)
            for task_id in estate.tasks:
                request = driver_pb2.DestroyTaskRequest(task_id=task_id, force=True)
                with contextlib.suppress(RpcError):
                    await stub.DestroyTask(request)
    config = ReattachConfig.decode(estate.plugin)
    if config.network == "unix":  # of a plugin that was killed, too
        with contextlib.suppress(OSError):
            os.unlink(config.addr)


async def _end_runs(estate: _Estate) -> None:
    """End the runs of our own driver that nobody could be asked about."""
    path = Path(estate.state_dir) if estate.state_dir else default_path()
    if not path.is_dir():
        return
    with contextlib.suppress(StateDirectoryError):
        state = open_state_directory(path)
        for run in list(state.runs()):
            with contextlib.suppress(RecordError, StuckError):
                record = run.read_executor()
                if record is not None and record.alloc_root == estate.directory:
                    await destroy_run(state, run)
