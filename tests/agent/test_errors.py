"""What a user reads when the job, or the plugin's configuration, is wrong."""

import pytest

from .footprint import CGROUP_ROOT, Footprint
from .installation import PluginConfig, ours_only
from .jobs import run_with
from .nomad import Agent, AgentEndedError, Server, open_home

pytestmark = ours_only


async def _failure_text(agent: Agent, job: str) -> str:
    """The text of the event that ended the task's only start."""
    state = await (await run_with(agent, job)).when_dead()
    assert state.failed
    assert state.restarts == 0
    assert state.of_type("Started") == []
    failures = [*state.of_type("Driver Failure"), *state.of_type("Failed Validation")]
    assert len(failures) == 1, f"{state}"
    return failures[0].display_message


async def test_an_unknown_user_is_named(agent: Agent) -> None:
    assert "unknown user alice-is-not-here" in await _failure_text(agent, "unknown_user")


async def test_a_bad_work_dir_is_named(agent: Agent) -> None:
    text = await _failure_text(agent, "bad_work_dir")
    assert 'work_dir "/no/such/directory": No such file or directory' in text


async def test_a_missing_command_is_named(agent: Agent) -> None:
    text = await _failure_text(agent, "missing_command")
    assert "/no/such/command" in text
    assert "No such file or directory" in text


async def test_an_unset_required_option_is_named(agent: Agent) -> None:
    assert "command" in await _failure_text(agent, "no_command")


async def test_an_unknown_option_is_named(agent: Agent) -> None:
    assert "comand" in await _failure_text(agent, "unknown_option")


async def test_the_agent_refuses_a_plugin_configuration_with_a_bad_value(server: Server) -> None:
    text = await _refusal(server, {"orphan_grace": '"soon"'})
    assert "orphan_grace" in text
    assert '"soon"' in text or "'soon'" in text


async def test_the_agent_refuses_a_plugin_configuration_with_an_unknown_option(
    server: Server,
) -> None:
    assert "frobnicate" in await _refusal(server, {"frobnicate": "1"})


async def _refusal(server: Server, options: dict[str, str]) -> str:
    """What the agent wrote when it refused to start; it leaves nothing behind."""
    with open_home() as home:
        agent = Agent(home, server, PluginConfig(options))
        footprint = Footprint(agent)
        with pytest.raises(AgentEndedError) as caught:
            await agent.start()
        left = footprint.listing()
        assert left == "", f"left by a refused start:\n{left}"
        text = str(caught.value)
    assert "failed to initialize plugin loader" in text
    return text.partition("failed to initialize plugin loader")[2]


async def test_a_driver_that_is_not_enabled_is_not_detected(server: Server) -> None:
    with open_home() as home:
        agent = Agent(home, server, PluginConfig({"enabled": "false"}))
        try:
            agent.launch()
            await agent.wait_log("node registration complete")
            assert "driver.trio" not in await agent.node_attributes()
            await agent.stop()
        finally:
            agent.end()
        assert Footprint(agent).listing() == ""


async def test_the_node_shows_how_tasks_are_contained(agent: Agent) -> None:
    attributes = await agent.node_attributes()
    assert attributes["driver.trio"] == "1"
    assert attributes["driver.trio.containment"] == _tier_of_this_host()


def _tier_of_this_host() -> str:
    """How a root agent can contain tasks here."""
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        return "cgroup-v2"
    return "cgroup-hybrid" if (CGROUP_ROOT / "unified").is_dir() else "cgroup-v1"
