"""One run of one task, as a test asks for it."""

import secrets
from dataclasses import dataclass

import msgspec

from trio_driver._proto import driver_pb2
from trio_driver.linux import ProcessId, identify
from trio_driver.state import ExecutorRecord, Run

from .allocation import Log


@dataclass(frozen=True, slots=True)
class Task:
    """What StartTask is sent, and where the state directory has it."""

    config: driver_pb2.TaskConfig
    run: Run
    stdout: Log | None = None
    stderr: Log | None = None

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def out(self) -> Log:
        """The reader of its stdout; only for tasks with logs."""
        assert self.stdout is not None, "ask for the task with logs=True"
        return self.stdout

    @property
    def record(self) -> ExecutorRecord:
        """What its executor wrote.

        Raises:
            AssertionError: there is no record.
        """
        record = self.run.read_executor()
        assert record is not None, f"no record of {self.id}"
        return record

    @property
    def executor(self) -> ProcessId:
        """Its executor, alive or not; as `record`."""
        return self.record.process

    @property
    def workload_pid(self) -> int:
        """Pid of its main process.

        Raises:
            AssertionError: it has not been committed.
        """
        commit = self.run.read_commit()
        assert commit is not None, f"{self.id} is not committed"
        return commit.workload_pid

    @property
    def workload(self) -> ProcessId:
        """Its main process; as `workload_pid`, and it must not have been reaped."""
        process = identify(self.workload_pid)
        assert process is not None, f"the workload of {self.id} is gone"
        return process

    def rewrite(self, record: str, **changes: object) -> None:
        """Change fields of a record on disk, as a crash, a reboot or a later version may have left it."""
        path = self.run.path / record
        path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **changes}))


def new_id(alloc_id: str, name: str) -> str:
    """A task id as Nomad makes one for each start attempt."""
    return f"{alloc_id}/{name}/{secrets.token_hex(4)}"
