"""What each block of a job file may hold, and what becomes of it without an agent.

Rules:
- Every name is used, ignored with a printed reason, or refused with one; nothing is passed over.
- Refused is what the task would need and not get; ignored is what only servers act on.

Source: the job specification of Nomad 2.0; nomad-protocol §4.2 to §4.4, §5.2.
"""

from dataclasses import dataclass, field

PLACEMENT = "there is one node to place it on"
UPDATES = "there are no servers to act on it"
ONCE = "every task runs once"
REGISTRY = "there is no service registry"
NOT_PROVIDED = "only an agent can provide it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The names that one kind of block may hold; the values say why they have no effect."""

    used: frozenset[str]
    ignored: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, str] = field(default_factory=dict[str, str])


FILE = Options(
    used=frozenset({"job", "variable"}),
    refused={"locals": "variables with a default are accepted"},
)

VARIABLE = Options(
    used=frozenset({"default"}),
    ignored=dict.fromkeys(("type", "description", "sensitive"), ""),
    refused={"validation": "it cannot be checked here"},
)
"""Ignored without a word: they say nothing about how the job runs."""

JOB = Options(
    used=frozenset({"datacenters", "group", "id", "meta", "name", "namespace", "region", "type"}),
    ignored={
        **dict.fromkeys(("affinity", "constraint", "node_pool", "priority", "spread"), PLACEMENT),
        **dict.fromkeys(("all_at_once", "migrate", "multiregion", "reschedule", "update"), UPDATES),
        **dict.fromkeys(("consul_token", "ui", "vault_token", "version_tag"), UPDATES),
        "periodic": "it runs now, once",
    },
    refused={"parameterized": "there is nothing that dispatches it", "vault": NOT_PROVIDED},
)

GROUP = Options(
    used=frozenset({"count", "meta", "task"}),
    ignored={
        **dict.fromkeys(("affinity", "constraint", "spread"), PLACEMENT),
        **dict.fromkeys(
            (
                "disconnect",
                "ephemeral_disk",
                "max_client_disconnect",
                "migrate",
                "prevent_reschedule_on_lost",
                "reschedule",
                "scaling",
                "stop_after_client_disconnect",
                "update",
            ),
            UPDATES,
        ),
        **dict.fromkeys(("consul", "service", "shutdown_delay"), REGISTRY),
        "restart": ONCE,
    },
    refused=dict.fromkeys(("network", "vault", "volume"), NOT_PROVIDED),
)

TASK = Options(
    used=frozenset(
        {
            "config",
            "driver",
            "env",
            "kill_signal",
            "kill_timeout",
            "logs",
            "meta",
            "resources",
            "user",
        }
    ),
    ignored={
        **dict.fromkeys(("affinity", "constraint"), PLACEMENT),
        **dict.fromkeys(("action", "scaling", "schedule", "ui"), UPDATES),
        **dict.fromkeys(("consul", "identity", "service", "shutdown_delay"), REGISTRY),
        "leader": "the run ends when all tasks have ended or one has failed",
        "restart": ONCE,
    },
    refused=dict.fromkeys(
        (
            "artifact",
            "csi_plugin",
            "dispatch_payload",
            "kind",
            "lifecycle",
            "secret",
            "template",
            "vault",
            "volume_mount",
        ),
        NOT_PROVIDED,
    ),
)

RESOURCES = Options(
    used=frozenset({"cpu", "memory", "memory_max"}),
    ignored={"disk": "nobody measures it"},
    refused=dict.fromkeys(("cores", "device", "iops", "network", "numa", "secrets"), NOT_PROVIDED),
)

LOGS = Options(
    used=frozenset({"disabled", "enabled"}),
    ignored=dict.fromkeys(("disk", "max_file_size", "max_files"), "output goes to the terminal"),
)
