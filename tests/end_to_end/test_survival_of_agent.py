"""Who survives whom, the row in which the agent ends (design §3): its plugin is reattached, or replaced."""

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.support.exits import assert_exited
from tests.support.family import kill
from tests.support.host import Host, open_host
from tests.support.plugin import RunningPlugin
from tests.support.waiting import until
from trio_driver._proto import base_pb2
from trio_driver.goplugin import PluginClient, ReattachConfig
from trio_driver.linux import ProcessId, identify, is_alive
from trio_driver.rpc import open_unix_channel

pytestmark = pytest.mark.cgroup

AGENT = Path(__file__).parents[1] / "support" / "agent.py"


class Agent:
    """A process that started the plugin."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self.config = ReattachConfig.decode(process.stdout.readline())

    @property
    def plugin(self) -> ProcessId:
        process = identify(self.config.pid)
        assert process is not None
        return process

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def agent_of(host: Host) -> Generator[Agent]:
    command = [sys.executable, str(AGENT), sys.executable, str(host.plugin_file)]
    with subprocess.Popen(command, env=host.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Agent(process)
        finally:
            process.kill()


@asynccontextmanager
async def connection_of(agent: Agent, host: Host) -> AsyncGenerator[RunningPlugin]:
    """The agent's connection, which it makes in another process than this one; lost with it."""
    async with open_unix_channel(agent.config.addr) as channel:
        client = PluginClient(
            channel,
            process=agent.plugin,
            reattach_config=agent.config,
            wait_exited=trio.sleep_forever,
        )
        plugin = RunningPlugin(client, [])
        await plugin.configure({"state_dir": str(host.state_dir)}, base_pb2.NomadConfig())
        await host.learn_schema(plugin)
        yield plugin


async def test_a_task_survives_a_killed_agent_whose_plugin_is_reattached() -> None:
    async with open_host(launch=False) as host:
        with agent_of(host) as agent:
            async with connection_of(agent, host) as plugin:
                task = host.sh('echo ready; read go < "$GO"; exit 6', env=host.gate)
                handle = await plugin.start(task)
                await until(task.run.is_committed, "the task is handed over")
                agent.kill()
            assert is_alive(agent.plugin)
            await host.reattach(agent.config)
        await host.plugin.recover(handle)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 6)


async def test_a_task_survives_a_killed_agent_whose_plugin_is_killed_and_replaced() -> None:
    async with open_host(launch=False) as host:
        with agent_of(host) as agent:
            async with connection_of(agent, host) as plugin:
                task = host.sh('echo ready; read go < "$GO"; exit 6', env=host.gate)
                handle = await plugin.start(task)
                await until(task.run.is_committed, "the task is handed over")
                old = agent.plugin
                agent.kill()
            await kill(old)
        await host.launch()
        await host.plugin.recover(handle)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 6)
