"""The fork server alone, asked over its socket as a plugin asks it."""

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.support.family import Family, Role, freeze, gone, kill, playing_init
from tests.support.forks import forked
from tests.support.leaks import files_below
from tests.support.waiting import LIMIT_S, until
from trio_driver.linux import ProcessId, children_of, identify, is_alive
from trio_driver.model import Lost
from trio_driver.spawner import ProcessLimits, SpawnRequest
from trio_driver.spawner.messages import SpawnReply, decode, encode
from trio_driver.state import Run, StateDirectory, open_state_directory

pytestmark = pytest.mark.cgroup

SCRIPT = Path(__file__).with_name("sample_spawner.py")
REPOSITORY = Path(__file__).parents[2]
BUILD = "0123456789ab"


class Facts(msgspec.Struct):
    """What a fork says that it has."""

    fds: list[int]
    session: bool
    mask: list[int]
    sigchld: str
    plugin_pid: int


@dataclass(frozen=True, slots=True)
class Executor:
    """One that was asked for, and our end of its control socket."""

    process: ProcessId
    control: socket.socket
    facts: Facts


class Home:
    """A state directory, its spawner, and a connection to it."""

    def __init__(self, state: StateDirectory, family: Family, sockets: ExitStack) -> None:
        self.state = state
        self.family = family
        self._sockets = sockets

    def start(self, *, is_starter_dead: bool = False) -> tuple[ProcessId, bytes]:
        """Start a spawner; it, and what it told when it was ready, if anybody is there to hear it."""
        ready, theirs = os.pipe()
        command = [sys.executable, str(SCRIPT), str(self.state.path), BUILD, str(theirs)]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        process = subprocess.Popen(command, pass_fds=[theirs], env=env, start_new_session=True)
        os.close(theirs)
        word = b"" if is_starter_dead else os.read(ready, 1)
        os.close(ready)
        spawner = identify(process.pid)
        assert spawner is not None
        process.returncode = 0  # the family reaps it
        return spawner, word

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(LIMIT_S)
        connection.connect(str(self.state.path / f"spawner-{BUILD}.socket"))
        return connection

    def run_of(self, task_name: str, number: int = 1) -> Run:
        return self.state.run_of(task_id=f"id-{number}", alloc_id="alloc", task_name=task_name)

    def control_pair(self) -> tuple[socket.socket, socket.socket]:
        """Ours, and the executor's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(LIMIT_S)
        return self._sockets.enter_context(ours), theirs

    def spawn(self, connection: socket.socket, task_name: str, number: int = 1) -> Executor:
        """Ask for an executor; it, when it is at work."""
        ours, theirs = self.control_pair()
        with theirs:
            socket.send_fds(connection, [request(task_name, number)], [theirs.fileno()])
        data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
        reply = decode(SpawnReply, data)
        assert not reply.error
        for fd in fds:
            os.close(fd)
        facts = msgspec.json.decode(ours.recv(65536), type=Facts)
        return Executor(reply.process, ours, facts)


def request(task_name: str, number: int = 1) -> bytes:
    return encode(
        SpawnRequest(
            task_id=f"id-{number}",
            alloc_id="alloc",
            task_name=task_name,
            alloc_root="/alloc",
            driver="sample",
            limits=ProcessLimits.of_this_process(),
        )
    )


@pytest.fixture
def home() -> Generator[Home]:
    """A spawner's home without one; when it has none again, nothing is left in it."""
    with (
        tempfile.TemporaryDirectory(prefix="td-", dir="/tmp") as path,
        playing_init() as family,
        ExitStack() as sockets,
    ):
        home = Home(open_state_directory(Path(path) / "state"), family, sockets)
        try:
            yield home
        finally:
            while family.kill_all():
                select.select([], [], [], 0.01)


@contextmanager
def connected(home: Home) -> Generator[socket.socket]:
    home.start()
    with home.connect() as connection:
        yield connection


async def test_a_new_spawner_listens_and_tells_so(home: Home) -> None:
    spawner, word = home.start()
    assert word == b"r"
    home.connect().close()
    await gone(spawner)
    assert files_below(home.state.path) == ["locks", "runs"]


async def test_a_second_spawner_of_a_build_tells_that_there_is_one_and_ends(home: Home) -> None:
    first, _ = home.start()
    with home.connect():
        second, word = home.start()
        assert word == b"h"
        await gone(second)
        assert is_alive(first)
    await gone(first)


async def test_a_fork_has_no_descriptor_but_the_four_of_its_own(home: Home) -> None:
    with connected(home) as connection:
        executor = home.spawn(connection, "web")
        facts = executor.facts
        assert len(facts.fds) == 5, "0 to 2, the control socket, and the lock that it took itself"
        assert (facts.session, facts.mask, facts.plugin_pid) == (True, [], os.getpid())
        assert "SIG_DFL" in facts.sigchld
        executor.control.close()
        await gone(executor.process)


async def test_the_reply_names_the_process_that_answers(home: Home) -> None:
    with connected(home) as connection:
        executor = home.spawn(connection, "web")
        assert is_alive(executor.process)
        assert home.run_of("web").read_executor() is not None
        executor.control.close()
        await gone(executor.process)


@pytest.mark.parametrize("data", [b"not json", b"{}", b"\xff" * 100])
async def test_what_is_no_request_ends_its_connection_and_no_other(home: Home, data: bytes) -> None:
    with connected(home) as good, home.connect() as bad:
        bad.send(data)
        assert bad.recv(10) == b""
        executor = home.spawn(good, "web")
        assert executor.facts
        executor.control.close()
        await gone(executor.process)


async def test_a_request_without_a_descriptor_ends_its_connection(home: Home) -> None:
    with connected(home), home.connect() as bad:
        bad.send(request("web"))
        assert bad.recv(10) == b""


async def test_an_executor_that_fails_ends_alone_and_its_failure_is_logged(home: Home) -> None:
    with connected(home) as connection:
        ours, theirs = home.control_pair()
        with theirs:
            socket.send_fds(connection, [request("raises")], [theirs.fileno()])
        assert ours.recv(10) == b"", "its end of the control socket is closed with it"
        assert home.spawn(connection, "web", 2).facts


async def test_a_dead_executor_is_settled_as_lost(home: Home) -> None:
    with connected(home) as connection:
        executor = home.spawn(connection, "committed")
        await kill(executor.process)
        run = home.run_of("committed")
        await until(lambda: run.read_exit() is not None, "its exit is recorded")
        record = run.read_exit()
        assert record is not None
        assert isinstance(record.exit, Lost)


async def test_a_stray_of_a_dead_executor_is_killed(home: Home) -> None:
    with connected(home) as connection:
        executor = home.spawn(connection, "leaves-a-stray")
        (stray,) = children_of(executor.process.pid)
        process = identify(stray)
        assert process is not None
        await kill(executor.process)
        await gone(process)


async def test_a_spawner_stays_while_an_executor_lives_without_a_plugin(home: Home) -> None:
    spawner, _ = home.start()
    with home.connect() as connection:
        executor = home.spawn(connection, "committed")
    assert is_alive(spawner)
    assert home.family.all_of(Role.SPAWNER) == [spawner]
    executor.control.send(b"e")
    await gone(executor.process)
    await gone(spawner)


async def test_an_uncommitted_executor_that_outlives_its_plugin_is_killed(home: Home) -> None:
    spawner, _ = home.start()

    def ask() -> None:
        with home.connect() as connection:
            home.spawn(connection, "deaf")

    with forked(ask) as plugin:
        record = home.run_of("deaf").read_executor()
        assert record is not None
        assert is_alive(record.process)
        plugin.kill()
        await gone(record.process)
    await gone(spawner)


async def test_a_new_spawner_takes_over_the_executors_of_a_dead_one(home: Home) -> None:
    first, _ = home.start()
    with home.connect() as connection:
        executor = home.spawn(connection, "committed")
        await freeze(executor.process)
        await kill(first)
    second, word = home.start()
    assert word == b"r"
    with home.connect():
        run = home.run_of("committed")
        await kill(executor.process)
        await until(lambda: run.read_exit() is not None, "the second one settles it")
    await gone(second)


async def test_a_new_spawner_settles_what_died_while_there_was_none(home: Home) -> None:
    first, _ = home.start()
    with home.connect() as connection:
        executor = home.spawn(connection, "committed")
        await freeze(executor.process)
        await kill(first)
    await kill(executor.process)
    home.start()
    with home.connect():
        run = home.run_of("committed")
        await until(lambda: run.read_exit() is not None, "it is settled")


async def test_a_spawner_whose_starter_is_dead_settles_what_was_left_and_ends(home: Home) -> None:
    first, _ = home.start()
    with home.connect() as connection:
        executor = home.spawn(connection, "committed")
        await freeze(executor.process)
        await kill(first)
    await kill(executor.process)
    second, word = home.start(is_starter_dead=True)
    assert word == b""
    await gone(second)
    assert home.run_of("committed").read_exit() is not None
