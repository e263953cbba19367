"""This machine as an agent would describe it: processors, names, the environment it hands to tasks.

Rules:
- What the kernel does not tell stays 0 or absent.
- Secrets of the agent's own environment do not reach tasks (`ENV_DENYLIST`).

Must not know: jobs, plugins.
"""

import os
import platform
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trio_driver._proto import base_pb2

CLIENT_PORTS = (14000, 14512)
"""Ports that plugins may use on loopback; an agent's default (nomad-protocol §2.4)."""

ENV_DENYLIST = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_METADATA_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "CONSUL_HTTP_TOKEN",
        "CONSUL_HTTP_TOKEN_FILE",
        "CONSUL_LICENSE",
        "CONSUL_LICENSE_PATH",
        "CONSUL_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_OAUTH_ACCESS_TOKEN",
        "NOMAD_LICENSE",
        "NOMAD_LICENSE_PATH",
        "NOMAD_TOKEN",
        "VAULT_LICENSE",
        "VAULT_LICENSE_PATH",
        "VAULT_TOKEN",
    }
)
"""Source: nomad-protocol B.1, the default of the client option `env.denylist`."""

GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""What Nomad calls the machine types whose name differs."""

_CPU_DIR = re.compile(r"cpu(\d+)")
_NODE_DIR = re.compile(r"node(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One logical processor; speeds in MHz, 0 where unknown."""

    id: int
    socket_id: int
    node_id: int
    usable: bool
    base_mhz: int
    max_mhz: int
    guess_mhz: int

    @property
    def compute_mhz(self) -> int:
        """What Nomad counts for this core (nomad-protocol §2.4)."""
        return self.base_mhz or self.max_mhz or self.guess_mhz


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The machine, under a new id every time: nothing is registered anywhere."""

    id: str
    name: str
    cores: tuple[Core, ...]
    distances: tuple[tuple[int, ...], ...]
    meta: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def total_mhz(self) -> int:
        """The compute of all cores."""
        return sum(core.compute_mhz for core in self.cores)

    @property
    def usable_mhz(self) -> int:
        """The compute of the cores that this process may run on."""
        return sum(core.compute_mhz for core in self.cores if core.usable)

    def attributes(self) -> dict[str, str]:
        """Node attributes, as `${attr.…}` names them."""
        system = os.uname()
        return {
            "cpu.arch": GO_ARCHITECTURES.get(system.machine, system.machine),
            "cpu.numcores": str(len(self.cores)),
            "cpu.totalcompute": str(self.total_mhz),
            "kernel.name": platform.system().lower(),
            "kernel.version": system.release,
            "unique.hostname": system.nodename,
        }

    def nomad_config(self) -> base_pb2.NomadConfig:
        """What an agent tells a driver of itself in SetConfig."""
        first_port, last_port = CLIENT_PORTS
        return base_pb2.NomadConfig(
            driver=base_pb2.NomadDriverConfig(
                ClientMinPort=first_port,
                ClientMaxPort=last_port,
                Topology=base_pb2.ClientTopology(
                    node_ids=range(len(self.distances)),
                    distances=base_pb2.ClientTopologySLIT(
                        dimension=len(self.distances),
                        values=[value for row in self.distances for value in row],
                    ),
                    cores=[_core_message(core) for core in self.cores],
                ),
            )
        )


def this_node(
    *, meta: Mapping[str, str], sysfs: Path = Path("/sys"), procfs: Path = Path("/proc")
) -> Node:
    """Read the machine.

    Args:
        meta: what the node's `client { meta { … } }` block would say.
        sysfs: where the kernel shows devices.
        procfs: where it shows processors' present speed.
    """
    nodes = sorted(_numbered(sysfs / "devices/system/node", _NODE_DIR))
    node_of = {
        cpu: number
        for number in nodes
        for cpu in _numbered(sysfs / f"devices/system/node/node{number}", _CPU_DIR)
    }
    guesses = _present_mhz(procfs)
    usable = os.sched_getaffinity(0)
    cores = tuple(
        Core(
            id=cpu,
            socket_id=max(_number(directory / "topology/physical_package_id"), 0),
            node_id=node_of.get(cpu, 0),
            usable=cpu in usable,
            base_mhz=_number(directory / "cpufreq/base_frequency") // 1000,
            max_mhz=_number(directory / "cpufreq/cpuinfo_max_freq") // 1000,
            guess_mhz=guesses.get(cpu, 0),
        )
        for cpu, directory in sorted(_online(sysfs / "devices/system/cpu").items())
    )
    distances = tuple(_distances(sysfs / f"devices/system/node/node{node}") for node in nodes)
    name = os.uname().nodename
    return Node(id=str(uuid.uuid4()), name=name, cores=cores, distances=distances, meta=meta)


def host_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the agent's environment tasks get to see."""
    return {name: value for name, value in environ.items() if name not in ENV_DENYLIST}


def _core_message(core: Core) -> base_pb2.ClientTopologyCore:
    return base_pb2.ClientTopologyCore(
        socket_id=core.socket_id,
        node_id=core.node_id,
        core_id=core.id,
        disable=not core.usable,
        base_speed=core.base_mhz,
        max_speed=core.max_mhz,
        guess_speed=core.guess_mhz,
    )


def _online(directory: Path) -> dict[int, Path]:
    """The processors that run; one without an `online` file cannot be switched off."""
    found = {cpu: directory / f"cpu{cpu}" for cpu in _numbered(directory, _CPU_DIR)}
    return {cpu: path for cpu, path in found.items() if _number(path / "online", missing=1)}


def _numbered(directory: Path, pattern: re.Pattern[str]) -> list[int]:
    """The numbers of the entries that match."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [int(found[1]) for name in names if (found := pattern.fullmatch(name))]


def _number(path: Path, *, missing: int = 0) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return missing


def _distances(directory: Path) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in (directory / "distance").read_text().split())
    except (OSError, ValueError):
        return ()


def _present_mhz(procfs: Path) -> dict[int, int]:
    """The speed at which each processor runs just now, where the kernel tells."""
    try:
        text = (procfs / "cpuinfo").read_text()
    except OSError:
        return {}
    found = re.findall(
        r"^processor\s*:\s*(\d+)$.*?^cpu MHz\s*:\s*(\d+)", text, re.MULTILINE | re.DOTALL
    )
    return {int(cpu): int(mhz) for cpu, mhz in found}
