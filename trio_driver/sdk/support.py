"""What Nomad may ask of a task and this framework does not do: refused with a text, or told; never
left out in silence.

Rules (nomad-protocol §4.4, §4.5):
- A task sees the host's files. A mount or a device that it would see at the host's own path, as the
  host has it, is there already; any other is refused.
- `dns` is what raw_exec does not apply either, and what Nomad fills in by itself in bridge mode: the
  task starts, and its history says that it resolves names as the host does.
"""

from trio_driver._proto import driver_pb2
from trio_driver.model import ConfigInvalidError

NetworkMode = driver_pb2.NetworkIsolationSpec


def check_supported(config: driver_pb2.TaskConfig) -> None:
    """Refuse what cannot be done for the task.

    Raises:
        ConfigInvalidError: names what, and what is accepted.
    """
    for mount in config.mounts:
        if mount.readonly or mount.task_path != mount.host_path:
            kind = "read-only mount" if mount.readonly else "mount"
            raise ConfigInvalidError(
                f'{kind} of "{mount.host_path}" at "{mount.task_path}" is not supported: a task sees '
                "the host's files; expected the same path, writable"
            )
    for device in config.devices:
        if device.task_path != device.host_path:
            raise ConfigInvalidError(
                f'device "{device.host_path}" as "{device.task_path}" is not supported: a task sees '
                "the host's devices; expected the same path"
            )
    network = config.network_isolation_spec
    if network.mode == NetworkMode.TASK:
        raise ConfigInvalidError(
            'network mode "driver" is not supported; expected "host", "bridge", "none" or "cni/..."'
        )
    if network.mode == NetworkMode.GROUP and not network.path:
        raise ConfigInvalidError("the group's network has no namespace that a task could join")


def not_applied(config: driver_pb2.TaskConfig) -> str:
    """What the operator should know is not done for the task; empty when everything is."""
    dns = config.dns
    if not (dns.servers or dns.searches or dns.options):
        return ""
    asked = ", ".join([*dns.servers, *dns.searches, *dns.options])
    return (
        f"dns is not applied ({asked}): the task resolves names as the host does, as with raw_exec"
    )
