"""Fixtures: one server for the directory, one agent for tests that leave it alive, own ones for others.

Every test ends with the leak check: after the last job nothing is there but what may outlive a task
(the plugin and its spawner), and after an own agent's graceful end nothing at all.
"""

import os
import shutil
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import trio

from .footprint import Counts, Footprint, Role
from .installation import IS_OURS
from .jobs import purge_all
from .nomad import Agent, Server, open_home
from .waiting import eventually

LOG_NOISE = (" http: ", "client.fingerprint_mgr", "agent.plugin_loader", "allocation updates")

AGENTS = pytest.StashKey[list[Agent]]()
"""The agents of a test, for the report of its failure."""


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """The Nomad server that all agents register with."""
    if shutil.which("nomad") is None:
        pytest.skip("no `nomad` binary on PATH")
    if os.geteuid() != 0:
        pytest.skip("a Nomad client needs root for its mounts and cgroups")
    with open_home() as home:
        server = Server(home)
        try:
            trio.run(server.start)
            yield server
        finally:
            server.end()


@pytest.fixture(scope="package")
def shared_footprint(server: Server) -> Iterator[Footprint]:
    """The agent that all tests share which leave it alive, with all that was seen of it."""
    with open_home() as home:
        footprint = Footprint(Agent(home, server))
        try:
            trio.run(footprint.agent.start)
            yield footprint
            trio.run(end_agent, footprint)
        finally:
            footprint.agent.end()
            footprint.wipe()


@pytest.fixture
async def footprint(
    request: pytest.FixtureRequest, shared_footprint: Footprint
) -> AsyncIterator[Footprint]:
    """The traces of the shared agent; the test fails if it leaves more than it found."""
    request.node.stash[AGENTS] = [shared_footprint.agent]
    if not shared_footprint.agent.is_running:
        await shared_footprint.agent.start()
    yield shared_footprint
    await nothing_left(shared_footprint)


@pytest.fixture
def agent(footprint: Footprint) -> Agent:
    """The shared agent, for jobs only: stopping or killing it would disturb other tests."""
    return footprint.agent


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory for an own agent; it stays until the report of a failure has been made."""
    with open_home() as path:
        yield path


@pytest.fixture
async def own_footprint(
    request: pytest.FixtureRequest, server: Server, home: Path
) -> AsyncIterator[Footprint]:
    """The traces of an agent that this test alone has, and may kill; in the end nothing is left."""
    footprint = Footprint(Agent(home, server))
    request.node.stash[AGENTS] = [footprint.agent]
    try:
        await footprint.agent.start()
        yield footprint
        if not footprint.agent.is_running:
            await footprint.agent.start()
        await nothing_left(footprint)
        await end_agent(footprint)
    finally:
        footprint.agent.end()
        footprint.wipe()


@pytest.fixture
def own_agent(own_footprint: Footprint) -> Agent:
    """The agent of this test alone."""
    return own_footprint.agent


async def nothing_left(footprint: Footprint) -> None:
    """Stop and purge all jobs; then nothing of them may be left on the host.

    Raises:
        AssertionError: the text lists what is left.
    """
    footprint.look()
    allocation_ids = await purge_all(footprint.agent)

    def remains() -> list[str]:
        found = footprint.look()
        lines = [f"{role.value} {each}" for role in _OF_TASKS for each in found[role]]
        lines += [f"another {role.value}: {each}" for role in _SINGLE for each in found[role][1:]]
        lines += [f"cgroup {path}" for path in footprint.cgroups_left(allocation_ids)]
        lines += [f"mount {path}" for path in footprint.mounts_left()]
        return lines + [f"file {path}" for path in footprint.files_of_tasks()]

    try:
        wanted = "nothing is left after the last job was purged"
        await eventually(
            lambda: not remains(), wanted, shown=lambda: "\n".join(remains()), limit_s=20
        )
    except AssertionError:
        footprint.wipe()
        raise


_OF_TASKS = (Role.EXECUTOR, Role.WORKLOAD, Role.ZOMBIE)
_SINGLE = (Role.PLUGIN, Role.SPAWNER)


async def end_agent(footprint: Footprint) -> None:
    """Stop the agent gracefully; then no process or file of ours may be left.

    Raises:
        AssertionError: the text lists what is left.
    """
    footprint.look()
    if footprint.agent.is_running:
        await footprint.agent.stop()
    if IS_OURS:
        await footprint.becomes(Counts(plugins=0, spawners=0, executors=0, workloads=0))
        left = [path for path in footprint.files_at_end() if not path.endswith(".log")]
        assert left == [], f"left after the agent's graceful end: {left}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("agent")
            item.add_marker("cgroup")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the agents' logs to the report of a failed test."""
    report = yield
    if report.failed:
        agents = item.stash.get(AGENTS, list[Agent]())
        for agent in (each for each in agents if each.home.exists()):
            lines = [
                line
                for line in agent.log_path.read_text().splitlines()
                if not any(word in line for word in LOG_NOISE)
            ]
            report.sections.append((f"log of agent {agent.name}", "\n".join(lines[-4000:])))
    return report
