"""Every option of a job, wrong in turn, on a real agent: what the user reads.

A value of another type does not reach the plugin: the agent reads the job with our schema, and its
text names the option and what is required. What the type allows and the option does not is refused
by the plugin, which names the value too.
"""

import msgspec

from tests.drivers.test_options_page import TASK_VALUES

from .api import AllocationState
from .installation import DRIVER, ours_only
from .jobs import Job
from .nomad import Agent

pytestmark = ours_only

OF_ANOTHER_TYPE: list[tuple[str, object, str]] = [
    ("oom_score_adj", "many", "number is required"),
    ("pids_limit", "many", "number is required"),
    ("cpu_hard_limit", "perhaps", "bool is required"),
    ("command", ["/bin/true"], "string required"),
    ("work_dir", ["/"], "string required"),
    *((name, "one", "list of") for name in ("args", "stop", "denied_envvars", "ulimit")),
    ("cgroup_v1_override", "one", "list of"),
    ("cgroup_v2_override", ["/"], "string required"),
    ("stop_after_driver_loss", ["1s"], "string required"),
]
"""An option, a value of another type, and what the agent says is required."""

WRONG: list[tuple[str, object, list[str]]] = [
    *((name, value, [name, word]) for name, value, word in OF_ANOTHER_TYPE),
    *(
        (name, value, [name, as_shown, offer])
        for name, values in TASK_VALUES.items()
        for value, as_shown, offer in values
    ),
]


async def run_wrong(agent: Agent) -> Job:
    """Register one job with a group, and so an allocation, for each of `WRONG`."""
    name = f"wrong-options-{agent.name}"
    once = {"Attempts": 0, "Mode": "fail"}
    groups = [
        {
            "Name": f"group{number}",
            "RestartPolicy": once,
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
            "Tasks": [
                {
                    "Name": "task",
                    "Driver": DRIVER,
                    "Config": {"command": "/bin/true", option: value},
                    "Resources": {"CPU": 1, "MemoryMB": 10},
                }
            ],
        }
        for number, (option, value, _) in enumerate(WRONG)
    ]
    job = {"ID": name, "Name": name, "Type": "batch", "TaskGroups": groups}
    await agent.api.put("/jobs", {"Job": {**job, "Datacenters": [agent.name]}})
    return Job(agent, name)


class Grouped(msgspec.Struct, frozen=True, rename="pascal"):
    """Which group an allocation is of."""

    id: str = msgspec.field(name="ID")
    task_group: str = ""


async def test_a_wrong_value_of_any_option_is_named_with_what_is_accepted(agent: Agent) -> None:
    job = await run_wrong(agent)
    await job.allocations(len(WRONG))
    path = f"/job/{job.id}/allocations"
    ended = await agent.api.when(
        path,
        list[AllocationState],
        lambda found: all(state.is_terminal for state in found),
        wanted="the end of all allocations",
    )
    states = {state.id: state for state in ended}
    for stub in await agent.api.get(path, list[Grouped]):
        option, value, words = WRONG[int(stub.task_group.removeprefix("group"))]
        state = states[stub.id].task("task")
        assert state is not None
        assert state.failed, f"{option} = {value!r} was accepted"
        text = " ".join(event.display_message for event in state.events or [])
        assert all(word in text for word in words), f"{option} = {value!r}: {text}"
