"""What is told of this machine."""

import os
from pathlib import Path

from trio_driver.cli.node import host_environment, this_node


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_machine_has_the_cores_that_it_has() -> None:
    node = this_node(meta={})
    assert len(node.cores) == os.cpu_count()
    assert {core.id for core in node.cores if core.usable} == os.sched_getaffinity(0)
    assert node.attributes()["kernel.name"] == "linux"


def test_a_machine_with_two_nodes_is_described(tmp_path: Path) -> None:
    usable = min(os.sched_getaffinity(0))
    cpu = "devices/system/cpu"
    sysfs = lay_out(
        tmp_path / "sys",
        {
            f"{cpu}/cpu{usable}/topology/physical_package_id": "0\n",
            f"{cpu}/cpu{usable}/cpufreq/base_frequency": "2000000\n",
            f"{cpu}/cpu{usable}/cpufreq/cpuinfo_max_freq": "3000000\n",
            f"{cpu}/cpu901/topology/physical_package_id": "1\n",
            f"{cpu}/cpu902/online": "0\n",
            f"{cpu}/cpuidle/x": "",
            f"devices/system/node/node0/cpu{usable}/x": "",
            "devices/system/node/node0/distance": "10 21\n",
            "devices/system/node/node1/cpu901/x": "",
            "devices/system/node/node1/distance": "21 10\n",
        },
    )
    speeds = f"processor\t: {usable}\ncpu MHz\t\t: 1800.5\n\nprocessor\t: 901\ncpu MHz : 1700\n"
    procfs = lay_out(tmp_path / "proc", {"cpuinfo": speeds})
    node = this_node(meta={}, sysfs=sysfs, procfs=procfs)
    assert [(core.id, core.socket_id, core.node_id, core.usable) for core in node.cores] == [
        (usable, 0, 0, True),
        (901, 1, 1, False),
    ]
    assert (node.total_mhz, node.usable_mhz) == (3700, 2000)
    topology = node.nomad_config().driver.Topology
    assert list(topology.node_ids) == [0, 1]
    assert (topology.distances.dimension, list(topology.distances.values)) == (2, [10, 21, 21, 10])
    assert [(core.core_id, core.disable) for core in topology.cores] == [
        (usable, False),
        (901, True),
    ]
    assert (topology.cores[0].base_speed, topology.cores[1].guess_speed) == (2000, 1700)


def test_what_the_kernel_does_not_tell_is_zero(tmp_path: Path) -> None:
    sysfs = lay_out(tmp_path, {"devices/system/cpu/cpu0/x": ""})
    node = this_node(meta={}, sysfs=sysfs, procfs=tmp_path)
    [core] = node.cores
    assert (core.compute_mhz, core.socket_id, core.node_id) == (0, 0, 0)


def test_secrets_of_the_agent_do_not_reach_tasks() -> None:
    assert host_environment({"A": "1", "VAULT_TOKEN": "x", "NOMAD_TOKEN": "y"}) == {"A": "1"}
