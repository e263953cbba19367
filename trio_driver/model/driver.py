"""What a driver says of itself before a task exists."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Health(enum.Enum):
    """Whether Nomad may place tasks: only on HEALTHY. UNDETECTED hides the driver."""

    UNDETECTED = 0
    UNHEALTHY = 1
    HEALTHY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What the node shows of the driver.

    Keep the texts stable: each change is an update of the node on the servers (nomad-protocol.md
    §2.6).
    """

    health: Health
    description: str
    attributes: Mapping[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What Nomad may ask of the driver (nomad-protocol §4.5)."""

    send_signals: bool = True
    exec: bool = True
    group_networks: bool = True
    """Whether a task may be of a group with a network of its own (`bridge`, `none`, `cni/*`): its
    workloads run in that namespace, `run` itself never does."""
