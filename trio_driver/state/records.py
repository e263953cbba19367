"""The records of a run: what to kill, and how it ended.

Rules:
- A record is whole or absent, and is read with the care of input from outside: a torn or foreign
  one is a `RecordError` that names the file, never a guess.
- `SCHEMA` is the version of all of them; a reader refuses a newer one.
"""

import contextlib
import enum
from pathlib import Path
from typing import TypeVar

import msgspec

from trio_driver.linux import ProcessId
from trio_driver.model import DriverError, Lost, TaskExit

SCHEMA = 1
"""Version of the records. Fields are only added, each with a default that means what the old record
meant."""

RECORD_LIFE_S = 24 * 3600.0
"""An agent asks for its tasks within seconds of its start; one that is down for longer than a day
starts anew."""

MAX_RECORD_BYTES = 1 << 20
"""Longest record that is read; ours are below 2 kB."""

MAX_EVENTS_BYTES = 256 * 1024
"""Longest `events` file: a driver that tells more than anybody reads is cut off."""

MAX_EXIT_BYTES = 8192
"""Space that is reserved for an exit record before there is anything to tell."""

MAX_REASON_CHARS = 1000
"""Longest reason of a lost run that is recorded: in the worst case, each character takes six bytes
of JSON."""


def scope_name(run_name: str) -> str:
    """The name of a run's own cgroup where it lies beside nobody's, right below the root of its
    hierarchy."""
    return f"trio-driver-{run_name}.scope"


class RecordError(DriverError):
    """A record cannot be believed; the text names the file and what is wrong with it."""


class LaterRecordError(RecordError):
    """The record was written by a later version: it is whole, and not ours to judge."""


class Tier(enum.Enum):
    """What holds the processes of a run together, strongest first."""

    CGROUP_V2 = "cgroup-v2"
    """A v2 cgroup of the run alone: the only hierarchy of the host, limits and killing in one
    tree."""
    HYBRID = "cgroup-hybrid"
    """A cgroup in the `unified` mount for killing, v1 cgroups for limits."""
    FREEZER = "cgroup-v1"
    """A child of the v1 freezer: frozen, killed member by member, thawed."""
    NONE = "none"
    """No cgroup: subreaper, parent-death signal and a sweep of descendants."""


class ContainmentRecord(msgspec.Struct, frozen=True):
    """The cgroups that belong to a run alone.

    `kill_path` holds every process of the run; empty without a cgroup. `own_paths` are all
    directories that go with the run, `kill_path` among them. `memory_path` is where its memory is
    counted, `cpu_path` where its CPU quota is set, perhaps together with other runs'.
    """

    tier: Tier
    kill_path: str = ""
    own_paths: tuple[str, ...] = ()
    memory_path: str = ""
    cpu_path: str = ""


class CommitRecord(msgspec.Struct, frozen=True):
    """That Nomad has been given the handle, and of what: `workload_pid` is 0 for a task without a
    workload."""

    workload_pid: int
    started_at_s: float
    schema: int = SCHEMA


class ExecutorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who owns a run. Written before anything of it exists that could be left behind."""

    schema: int = SCHEMA
    task_id: str
    alloc_id: str
    task_name: str
    alloc_root: str
    driver: str
    pid: int
    start_ticks: int
    boot_id: str
    plugin_pid: int
    plugin_start_ticks: int
    created_at_s: float
    containment: ContainmentRecord | None = None
    stop: tuple[str, ...] = ()
    """The ladder that the executor stops its task by; empty: as StopTask says."""
    stop_after_driver_loss_s: float | None = None
    """Whether, and after how long, it stops its task when no plugin is attached."""

    @property
    def process(self) -> ProcessId:
        """The executor, told apart from a later process with its pid."""
        return ProcessId(self.pid, self.start_ticks, self.boot_id)

    @property
    def plugin(self) -> ProcessId:
        """The plugin that asked for the run: until it commits, the run ends with it."""
        return ProcessId(self.plugin_pid, self.plugin_start_ticks, self.boot_id)


class EventRecord(msgspec.Struct, frozen=True):
    """Something that an executor tells the operator; a line of the run's `events`."""

    timestamp_s: float
    message: str
    annotations: dict[str, str]


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. Durable before anyone is told; the first one written stands."""

    schema: int = SCHEMA
    exit: TaskExit
    oom_killed: bool = False
    evidence: str = ""
    """What the exit is known from, in words."""
    started_at_s: float | None = None
    ended_at_s: float
    boot_id: str


RecordT = TypeVar("RecordT", ExecutorRecord, CommitRecord, ExitRecord)


def encode(record: ExecutorRecord | CommitRecord | ExitRecord) -> bytes:
    """One line of JSON, for people who look into the directory."""
    if isinstance(record, ExitRecord) and isinstance(record.exit, Lost):
        shortened = Lost(record.exit.reason[:MAX_REASON_CHARS])
        record = msgspec.structs.replace(record, exit=shortened)
    return msgspec.json.encode(record) + b"\n"


def decode(record_type: type[RecordT], data: bytes, path: Path) -> RecordT:
    """The record in `data`.

    Raises:
        RecordError: it is torn, foreign or newer than this program; `path` is named.
    """
    try:
        record = msgspec.json.decode(data, type=record_type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: not a whole record: {error}") from error
    if record.schema > SCHEMA:
        raise LaterRecordError(
            f"{path}: schema {record.schema} is newer than {SCHEMA}, which this program writes"
        )
    return record


def encode_event(event: EventRecord) -> bytes:
    """One line."""
    return msgspec.json.encode(event) + b"\n"


def decode_events(data: bytes) -> list[EventRecord]:
    """All whole lines of `data`; others are skipped: an event is news, not truth."""
    events: list[EventRecord] = []
    for line in data.splitlines():
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            events.append(msgspec.json.decode(line, type=EventRecord))
    return events
