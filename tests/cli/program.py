"""The program under test as its users run it, in a directory of its own, and what it leaves behind.

Rules:
- A test that ends without `Sandbox.check_clean` having found nothing fails (the fixture does it).
- Processes are found by the sandbox's path, which is in the command line of all that the program
  starts, or in the environment.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trio_driver.state import open_state_directory

PROJECT = Path(__file__).resolve().parents[2]

LIMIT_S = 120.0
"""For anything that a test waits for; an emulated machine needs a quarter of it."""

PYTHON_PATH = os.pathsep.join([str(PROJECT), *filter(None, sys.path)])
"""So that another interpreter of the same version finds what this one does."""


class Sandbox:
    """Directories and an environment for runs of the program."""

    def __init__(self, root: Path, *, python: str = sys.executable, uid: int | None = None) -> None:
        self.root = root
        self.uid = uid
        self.tmp = root / "tmp"
        self.tmp.mkdir()
        self.state_dir = root / "state"
        self.python = python
        self.program = self.script("trio-driver", "trio_driver.cli.main")
        if uid is not None:
            for path in (root, self.tmp):
                os.chown(path, uid, uid)

    @property
    def environ(self) -> dict[str, str]:
        """What the program sees."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": PYTHON_PATH,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.tmp),
        }

    def arguments(self, options: Sequence[str]) -> list[str]:
        """`run`, with this sandbox's state directory for a plugin that has one."""
        if "--plugin" in options:
            return [str(self.program), "run", *options]
        return [
            str(self.program),
            "run",
            "--plugin-config",
            f"state_dir={self.state_dir}",
            *options,
        ]

    def run(self, *options: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """`trio-driver run` to its end."""
        return self.run_command(self.arguments(options), **environ)

    def run_command(
        self, command: Sequence[str], **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run any command line to its end."""
        return subprocess.run(
            command,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            cwd=self.root,
            user=self.uid,
        )

    @contextmanager
    def start(self, *options: str, **environ: str) -> Generator["Running"]:
        """`trio-driver run` until the block is left, at the latest."""
        with subprocess.Popen(
            self.arguments(options),
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
            user=self.uid,
        ) as process:
            try:
                yield Running(process)
            finally:
                process.kill()

    def script(self, name: str, module: str) -> Path:
        """An executable that calls `main` of a module, like an installed console script."""
        path = self.root / name
        path.write_text(f"#!{self.python}\nfrom {module} import main\n\nmain()\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def job(self, text: str) -> str:
        """The path of a job file with this content."""
        path = self.root / "job.nomad.hcl"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def wait_committed(self, running: "Running") -> None:
        """Wait until Nomad's part, the program, owns the one task that runs."""
        state = open_state_directory(self.state_dir)
        while not any(run.is_committed() for run in state.runs()):
            assert not running.has_ended(within_s=0.02), "the run ended"

    def check_clean(self) -> None:
        """Fail when anything of the runs is left, but for the state directory's frame and logs."""
        wait_gone(self._processes())
        left = list(self.tmp.iterdir())
        assert left == [], left
        if self.state_dir.exists():
            names = {path.name for path in self.state_dir.rglob("*")}
            kept = {name for name in names if name.startswith("spawner-") and name.endswith(".log")}
            assert names - kept == {"locks", "runs"}, names

    def _processes(self) -> Iterator[int]:
        """Processes that have to do with the sandbox."""
        needle = os.fsencode(self.root)
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                words = Path("/proc", name, "cmdline").read_bytes()
                words += Path("/proc", name, "environ").read_bytes()
            except OSError:
                continue
            if needle in words and int(name) != os.getpid():
                yield int(name)


class Running:
    """A run that has not ended."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def read_until(self, text: str, *, stderr: bool = False) -> str:
        """Output up to and with `text`; of stdout, or of the lifecycle on stderr."""
        stream = self.process.stderr if stderr else self.process.stdout
        assert stream is not None
        found = b""
        while text.encode() not in found:
            found += _read(stream)
        return found.decode()

    def wait_started(self) -> None:
        """Wait until StartTask has been answered: a signal before that cancels the start."""
        self.read_until("runs (started", stderr=True)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the program alone."""
        self.process.send_signal(signum)

    def has_ended(self, *, within_s: float) -> bool:
        """Whether the program ends within that time."""
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def press_until(self, text: str) -> None:
        """Press Ctrl-C until the lifecycle says `text`: presses within 0.2 s count as one."""
        assert self.process.stderr is not None
        found = b""
        while text.encode() not in found:
            self.send(signal.SIGINT)
            while text.encode() not in found and _is_readable(self.process.stderr, within_s=0.3):
                found += _read(self.process.stderr)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end: exit code, and the rest of stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, stdout.decode(), stderr.decode()


def _read(stream: IO[bytes]) -> bytes:
    assert _is_readable(stream, within_s=LIMIT_S), "no output"
    chunk = os.read(stream.fileno(), 65536)
    assert chunk, "the program ended"
    return chunk


def _is_readable(stream: IO[bytes], *, within_s: float) -> bool:
    return bool(select.select([stream], [], [], within_s)[0])


def wait_gone(pids: Iterable[int]) -> None:
    """Wait until the processes have ended; fail when one does not."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([pidfd], [], [], LIMIT_S)
            assert ended, f"left: {pid} {Path(f'/proc/{pid}/cmdline').read_bytes()!r}"
        finally:
            os.close(pidfd)


@contextmanager
def open_sandbox(*, python: str = sys.executable, uid: int | None = None) -> Generator[Sandbox]:
    """A sandbox with a short path, for sockets; leaving it checks that nothing is left."""
    with tempfile.TemporaryDirectory(prefix="tdc-") as root:
        sandbox = Sandbox(Path(root), python=python, uid=uid)
        yield sandbox
        sandbox.check_clean()
