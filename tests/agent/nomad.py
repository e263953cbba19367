"""The `nomad` processes of the tests: one server for all, and client agents that may be killed.

Server and client are processes of their own because a client that shares its process with the only
server meets, at every restart, a server whose keyring is not ready yet, is refused, and asks again
only after 15 to 30 s.

Rules:
- All that an agent or its plugin writes is below `home`, a short path in /tmp: a socket's path is
  at most 107 bytes long.
- A process of `nomad` is not a lifetime of ours: tests kill it and start it again, so it has verbs,
  and an opposite for each. `open_home` and the fixtures are the blocks that end it all the same.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio

from .api import Api
from .installation import DRIVER, PluginConfig, install
from .waiting import LIMIT_S, wait_ended, wait_first, watched, within

HOME_VARIABLE = "TRIO_DRIVER_TEST_HOME"
"""In the environment of an agent, so of its plugin, and of each task that inherits it."""

CLIENT = """
client {{
  enabled = true
  servers = ["127.0.0.1:{server_port}"]
  network_interface = "lo"
  gc_disk_usage_threshold = 99
  gc_inode_usage_threshold = 99
  options = {{
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul,vault,cni"
    "driver.allowlist" = "{driver}"
  }}
}}
telemetry {{
  publish_allocation_metrics = true
  collection_interval = "1s"
}}
"""

SERVER = """
server {
  enabled = true
  bootstrap_expect = 1
  raft_multiplier = 1
  # An agent that is dead for the length of a test is not a lost node.
  min_heartbeat_ttl = "60s"
  heartbeat_grace = "120s"
}
"""

COMMON = """
name = "{name}"
datacenter = "{name}"
data_dir = "{home}/data"
plugin_dir = "{home}/plugins"
bind_addr = "127.0.0.1"
log_level = "DEBUG"
disable_update_check = true
ports {{
  http = {http}
  rpc = {rpc}
  serf = {serf}
}}
advertise {{
  http = "127.0.0.1:{http}"
  rpc = "127.0.0.1:{rpc}"
  serf = "127.0.0.1:{serf}"
}}
"""


class DriverHealth(msgspec.Struct, frozen=True, rename="pascal"):
    """A driver of a node."""

    detected: bool
    healthy: bool


class Node(msgspec.Struct, frozen=True, rename="pascal"):
    """A node as the server knows it."""

    attributes: dict[str, str]
    drivers: dict[str, DriverHealth]

    def is_ready(self) -> bool:
        """Whether tasks of the driver under test can be placed here."""
        driver = self.drivers.get(DRIVER)
        return driver is not None and driver.detected and driver.healthy


class _AgentSelf(msgspec.Struct, frozen=True):
    stats: dict[str, dict[str, str]]


class AgentEndedError(Exception):
    """The `nomad` process ended when it should not; the text is what it wrote since its start."""


@contextmanager
def open_home() -> Generator[Path]:
    """A directory for the length of the block; what is mounted below it is unmounted first."""
    home = Path(tempfile.mkdtemp(prefix="tda-", dir="/tmp"))
    home.chmod(0o755)
    try:
        for name in ("data", "plugins", "state", "tmp", "marks"):
            (home / name).mkdir(mode=0o700 if name == "state" else 0o755)
        yield home
    finally:
        for mount in mounts_below(home):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(home, ignore_errors=True)


def mounts_below(path: Path) -> list[str]:
    """Mount points below `path`, innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{path}/")), reverse=True)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class NomadProcess:
    """`nomad agent` with a configuration and a log of its own, started any number of times."""

    def __init__(self, home: Path, config: str, name: str) -> None:
        self.home = home
        self.name = name
        self.http_port, self.rpc_port, serf_port = free_ports(3)
        self.api = Api(self.http_port)
        self.log_path = home / "nomad.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        common = COMMON.format(
            name=name, home=home, http=self.http_port, rpc=self.rpc_port, serf=serf_port
        )
        (home / "nomad.hcl").write_text(common + config)

    @property
    def pid(self) -> int:
        """The agent's pid. Raises AssertionError when it does not run."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_text(self) -> str:
        """What the process has written since it was last started."""
        with self.log_path.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def launch(self) -> None:
        """Start the process; what it is ready for is for the caller to wait for."""
        environ = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
        environ |= {"TMPDIR": str(self.home / "tmp"), HOME_VARIABLE: str(self.home)}
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                ["nomad", "agent", "-config", str(self.home / "nomad.hcl")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd="/",
                start_new_session=True,
            )

    async def wait_log(self, text: str, *, count: int = 1) -> None:
        """Wait until the process has written `text` since its start, `count` times.

        Raises:
            AgentEndedError: it ended before.
            AssertionError: it has not within LIMIT_S.
        """
        await self.wait_log_lines(lambda lines: sum(text in line for line in lines) >= count, text)

    async def wait_log_lines(
        self, condition: Callable[[list[str]], bool], wanted: str = "a condition"
    ) -> None:
        """Wait until `condition` holds for the lines written since the start. Raises as `wait_log`."""

        def holds() -> bool:
            return condition(self.log_text().splitlines())

        async def wait_text() -> None:
            with watched(self.log_path) as changes:
                while not holds():
                    await changes.next()

        async with (
            within(
                LIMIT_S, f"{wanted!r} in the log of {self.name}", lambda: self.log_text()[-2000:]
            ),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(wait_first, wait_text, nursery.cancel_scope)
            nursery.start_soon(wait_first, self.wait_exited, nursery.cancel_scope)
        if not holds():
            raise AgentEndedError(self.log_text())

    async def wait_exited(self) -> None:
        """Wait, without limit, until the process has ended, and reap it."""
        assert self._process is not None
        await wait_ended(self._process.pid, limit_s=float("inf"))
        self._process.wait()

    async def _end(self, signum: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(signum)
        async with within(
            LIMIT_S, f"{self.name} to end by {signum.name}", lambda: self.log_text()[-2000:]
        ):
            await self.wait_exited()
        code = self._process.returncode
        self._process = None
        return code

    def end(self) -> None:
        """SIGKILL and reap it if it runs; for `finally`, where nothing may be awaited."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def stop(self) -> None:
        """Stop it as an operator does, with SIGINT, and wait."""
        await self._end(signal.SIGINT)

    async def kill(self) -> None:
        """SIGKILL it, and wait."""
        await self._end(signal.SIGKILL)


class Server(NomadProcess):
    """The one server: raft, evaluations, placement."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, SERVER, "server")

    async def start(self) -> None:
        """Start it, and wait until nodes can register."""
        self.launch()
        await self.wait_log("initialized keyring")


class Agent(NomadProcess):
    """A client agent with the plugin; all jobs run through `run_job` run on it alone."""

    def __init__(self, home: Path, server: Server, plugin: PluginConfig | None = None) -> None:
        self.state_dir = home / "state"
        config = CLIENT.format(server_port=server.rpc_port, driver=DRIVER)
        config += (plugin or PluginConfig()).hcl(self.state_dir)
        super().__init__(home, config, home.name)
        install(home / "plugins", home)

    @property
    def alloc_dir(self) -> Path:
        return self.home / "data" / "alloc"

    @property
    def marks_dir(self) -> Path:
        """Where tasks of a test may leave marks that outlive their allocation."""
        return self.home / "marks"

    async def start(self) -> None:
        """Start it, and wait until it can be given jobs.

        Raises:
            AgentEndedError: it refused to start.
        """
        self.launch()
        await self.wait_log("node registration complete")
        path = f"/node/{await self.node_id()}"
        await self.api.when(
            path, Node, Node.is_ready, wanted=f"{self.name}: driver {DRIVER} healthy"
        )

    async def node_id(self) -> str:
        """The id that the agent made for itself at its first start."""
        return (await self.api.get("/agent/self", _AgentSelf)).stats["client"]["node_id"]

    async def node_attributes(self) -> dict[str, str]:
        """The node's attributes, those of the driver among them."""
        return (await self.api.get(f"/node/{await self.node_id()}", Node)).attributes
