"""Fixtures: a sample plugin, its agent's environment, and the check that nothing is left."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from trio_driver._proto import driver_grpc, driver_pb2
from trio_driver.linux import children_of, fd_count

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trio_driver.goplugin import PluginClient

HERE = Path(__file__).parent
Execute: TypeAlias = "Callable[..., Awaitable[str]]"


@pytest.fixture(autouse=True)
def nothing_is_left(socket_dir: Path) -> Iterator[None]:
    """No process, descriptor or socket file outlives a test."""
    fds, children = fd_count(), children_of(os.getpid())
    yield
    gc.collect()
    assert children_of(os.getpid()) == children
    assert fd_count() == fds
    assert [path for path in socket_dir.iterdir() if path.is_socket()] == []


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """Where plugins of this test make their sockets; short enough for one."""
    path = Path(tempfile.mkdtemp(prefix="goplugin-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def environ(socket_dir: Path) -> dict[str, str]:
    """The agent's environment."""
    return {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "TMPDIR": str(socket_dir)}


@pytest.fixture
def sample_command() -> list[str]:
    """Runs the sample plugin."""
    return [sys.executable, str(HERE / "sample_plugin.py")]


@pytest.fixture
def execute() -> Execute:
    """Runs a command of the sample plugin inside it: `await execute(client, name, *arguments)`."""
    return _execute


async def _execute(client: PluginClient, *command: str) -> str:
    request = driver_pb2.ExecTaskRequest(command=command)
    response = await driver_grpc.DriverStub(client.channel).ExecTask(request, deadline_s=10)
    return response.stdout.decode()
