"""The state directory: where runs are recorded, and who may write there.

    with the plugins of several agents on one host it looks like this
    /run/trio-driver/
        locks/<fence>                   held for life by the executor of that (allocation, task)
        runs/<fence>-<run>/             one executor
            executor.json               who it is, what to kill
            committed.json              there once Nomad has been given the handle
            events                  what the executor tells the operator, until the plugin has taken it
            exit.json                   how it ended
            socket                      the executor listens here
            log                         the executor's stdout and stderr
        spawner-<build>.*               the fork server's socket, lock and log

Rules:
- Only its owner can read or write the directory; a task never can. Names in it are hashes, so that
  no name that a job chose reaches a path, and a socket's path stays under 107 bytes.
- A run is looked up by its name alone. Listing costs one system call, reading is left to the
  caller.
"""

import contextlib
import enum
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from trio_driver.linux import (
    boot_id,
    is_alive,
    prepare_record,
    reserve_record,
    write_atomic,
    write_once,
)
from trio_driver.model import ended_line
from trio_driver.state.records import (
    MAX_EVENTS_BYTES,
    MAX_EXIT_BYTES,
    MAX_RECORD_BYTES,
    CommitRecord,
    EventRecord,
    ExecutorRecord,
    ExitRecord,
    RecordError,
    RecordT,
    decode,
    decode_events,
    encode,
    encode_event,
)

NAME_HEX_DIGITS = 12
"""48 bits of SHA-256: two of a million names collide with a chance of 0.2 %, and the record tells
them apart."""

REMOVE_TRIES = 100
"""Each try outlasts one writer; there are two watchmen a host, and each writes a run's record
once."""

TELL_TRIES = 1000
"""A taker or another teller has the file for microseconds; one that was stopped meanwhile is not
waited for, and the event is dropped."""

TMPFS_ROOT = Path("/run")
"""A reboot empties it, so that records there need no fsync."""


class RunState(enum.Enum):
    """The states of design: a run that is destroyed has no directory."""

    PROVISIONAL = "provisional"
    """Nobody has been told of it; the scope that opened it ends it."""
    COMMITTED = "committed"
    """Nomad has been given the handle."""
    LOST = "lost"
    """Its executor is dead and left no exit record: to be settled by whoever sees it first."""
    ENDED = "ended"
    """The workload tree is gone and the exit record is written."""


def _short_hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:NAME_HEX_DIGITS]


def fence_name(alloc_id: str, task_name: str) -> str:
    """The name that all runs of one (allocation, task) share."""
    return _short_hash(alloc_id, task_name)


def remove_doomed(path: Path) -> None:
    """Remove a renamed run directory, against at most a few writers that still have it open."""
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return


@dataclass(frozen=True, slots=True)
class Run:
    """The directory of one run. All methods are synchronous, short, and true only at the moment of
    the call."""

    path: Path
    durable: bool

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def state_path(self) -> Path:
        """The state directory, without a link in its path."""
        return Path(os.path.realpath(self.path.parent.parent))

    @property
    def fence(self) -> str:
        """The name of the lock that this run's executor holds."""
        return self.path.name.partition("-")[0]

    @property
    def socket_path(self) -> Path:
        return self.path / "socket"

    @property
    def log_path(self) -> Path:
        return self.path / "log"

    def create(self) -> None:
        """Make the directory. The caller holds the fence.

        Raises:
            FileExistsError: an earlier run of this id was not destroyed.
        """
        self.path.mkdir(mode=0o700)

    def exists(self) -> bool:
        return self.path.is_dir()

    def read_executor(self) -> ExecutorRecord | None:
        """The executor's record; None before it is written and after the run is destroyed.

        Raises:
            RecordError: it cannot be believed.
        """
        return self._read("executor.json", ExecutorRecord)

    def has_executor_record(self) -> bool:
        return os.path.lexists(self.path / "executor.json")

    def read_exit(self) -> ExitRecord | None:
        """How the run ended; None while it has not.

        Raises:
            RecordError: it cannot be believed.
        """
        return self._read("exit.json", ExitRecord)

    def write_executor(self, record: ExecutorRecord) -> None:
        """Replace the executor's record; after a crash it is the old or the new one."""
        with self._open() as dir_fd:
            write_atomic(dir_fd, "executor.json", encode(record), durable=self.durable)

    def write_exit(self, record: ExitRecord) -> bool:
        """Write how the run ended, unless somebody has; the first record stands. False: it was not
        ours.

        Raises:
            FileNotFoundError: the run has been destroyed.
        """
        with self._open() as dir_fd:
            return write_once(dir_fd, "exit.json", encode(record), durable=self.durable)

    @contextlib.contextmanager
    def reserve_exit(self) -> Generator[Callable[[ExitRecord], bool]]:
        """As `write_exit`, with a descriptor and disk space taken now: neither EMFILE nor ENOSPC
        can stop it later."""
        with (
            self._open() as dir_fd,
            reserve_record(dir_fd, "exit.json", size_bytes=MAX_EXIT_BYTES) as reserved,
        ):
            yield lambda record: reserved.write_once(encode(record), durable=self.durable)

    def commit(self, record: CommitRecord) -> None:
        """Mark the run as Nomad's: a rename that needs nobody's answer, and that everybody can look
        at.

        Raises:
            FileNotFoundError: the run has been destroyed.
        """
        with self.prepare_commit(record) as commit:
            commit()

    @contextlib.contextmanager
    def prepare_commit(self, record: CommitRecord) -> Generator[Callable[[], None]]:
        """As `commit`, with all that takes time done now: what is left is the rename."""
        with (
            self._open() as dir_fd,
            prepare_record(
                dir_fd, "committed.json", encode(record), durable=self.durable
            ) as publish,
        ):
            yield publish

    def is_committed(self) -> bool:
        return os.path.lexists(self.path / "committed.json")

    def read_commit(self) -> CommitRecord | None:
        """What Nomad was told of the run; None while it was not.

        Raises:
            RecordError: it cannot be believed.
        """
        return self._read("committed.json", CommitRecord)

    def tell(self, event: EventRecord) -> None:
        """Leave `event` for the plugin to take; dropped when nobody took the ones before, and when
        the run is gone."""
        with contextlib.suppress(FileNotFoundError):
            for _ in range(TELL_TRIES):
                if self._append_event(encode_event(event)):
                    return

    def _append_event(self, line: bytes) -> bool:
        """False: the file was taken before we had written, or somebody else writes."""
        path = self.path / "events"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_file_of(fd, path):
                return False
            if os.fstat(fd).st_size < MAX_EVENTS_BYTES:
                os.write(fd, line)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(fd)

    def tell_ended(self, record: ExitRecord) -> None:
        """Tell how the run ended. For the one who wrote the record, so that it is told once."""
        line = ended_line(record.exit, evidence=record.evidence, oom_killed=record.oom_killed)
        self.tell(EventRecord(record.ended_at_s, line.message, dict(line.annotations)))

    def take_events(self) -> list[EventRecord]:
        """What was told since the last call: each event goes to one taker, whose death loses it.

        Does not wait for a teller that was stopped while it wrote: its events come with a later call.
        """
        taken = self.path / ".events"
        try:
            if not taken.exists():
                os.rename(self.path / "events", taken)
            with taken.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                data = file.read()
                taken.unlink()
        except (FileNotFoundError, BlockingIOError):
            return []
        return decode_events(data)

    def state(self) -> RunState | None:
        """Where in its life the run is; None when there is none.

        Raises:
            RecordError: a record cannot be believed.
        """
        if self.read_exit() is not None:
            return RunState.ENDED
        record = self.read_executor()
        if record is None:
            return RunState.PROVISIONAL if self.exists() else None
        if record.boot_id != boot_id() or not is_alive(record.process):
            # It may have written its exit and died between our two reads.
            return RunState.LOST if self.read_exit() is None else RunState.ENDED
        return RunState.COMMITTED if self.is_committed() else RunState.PROVISIONAL

    def remove(self) -> None:
        """Remove the directory and all in it; nothing happens when it is gone.

        It is renamed first, so that a watchman who comes late finds no place for a record; one who
        came just before has the directory open, and is outlasted.
        """
        doomed = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, doomed)
        # Others may have been killed while they did the same.
        for path in self.path.parent.glob(f".{self.path.name}.*"):
            remove_doomed(path)

    def _read(self, name: str, record_type: type[RecordT]) -> RecordT | None:
        try:
            fd = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RecordError(f"{self.path / name}: {error.strerror}") from error
        try:
            data = os.read(fd, MAX_RECORD_BYTES)
        except OSError as error:
            raise RecordError(f"{self.path / name}: {error.strerror}") from error
        finally:
            os.close(fd)
        return decode(record_type, data, self.path / name)

    def _open(self) -> "_DirectoryFd":
        return _DirectoryFd(self.path)


def _is_file_of(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


class _DirectoryFd:
    """An open directory for the length of a block."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """An opened state directory, see `opening`."""

    path: Path

    @property
    def durable(self) -> bool:
        """Whether records need fsync: not where a reboot empties the directory anyway."""
        return not self.path.is_relative_to(TMPFS_ROOT)

    def run_of(self, *, task_id: str, alloc_id: str, task_name: str) -> Run:
        """The directory that a new run of this task has, whether it exists or not."""
        return self.run_named(f"{fence_name(alloc_id, task_name)}-{_short_hash(task_id)}")

    def find(self, task_id: str) -> Run | None:
        """The run with this task id, if there is a directory of it."""
        suffix = "-" + _short_hash(task_id)
        return next((run for run in self.runs() if run.name.endswith(suffix)), None)

    def runs(self) -> Iterator[Run]:
        """All runs that have a directory now."""
        try:
            names = sorted(os.listdir(self.path / "runs"))
        except FileNotFoundError:  # somebody removed the state directory under us
            names = []
        for name in names:
            if not name.startswith("."):
                yield self.run_named(name)

    def doomed_runs(self) -> list[Path]:
        """Directories of runs whose removal has begun, and perhaps was cut short by a crash."""
        return sorted((self.path / "runs").glob(".*"))

    def lock_paths(self) -> list[Path]:
        """The lock files of all tasks, held or not."""
        return sorted((self.path / "locks").glob("*"))

    def remove_doomed_runs(self) -> None:
        """Finish removals that a crash cut short."""
        for path in self.doomed_runs():
            remove_doomed(path)

    def runs_of_fence(self, fence: str) -> list[Run]:
        """All runs, ended ones too, of one (allocation, task)."""
        return [run for run in self.runs() if run.fence == fence]

    def lock_path(self, fence: str) -> Path:
        return self.path / "locks" / fence

    def run_named(self, name: str) -> Run:
        """The run whose directory has this name, whether it exists or not."""
        return Run(self.path / "runs" / name, self.durable)
