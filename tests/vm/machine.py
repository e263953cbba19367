"""One boot: a command runs in the guest, its output comes here, its exit code is ours.

Rules:
- Two serial lines: the kernel's messages go to a file, which is shown when the guest does not come up;
  the command's output comes through unchanged.
- The guest has no network but loopback, and no standard input.
"""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.image import QEMU, SHARE_OPTIONS, Image

TIMED_OUT, NOT_UP, NO_HOST = 124, 125, 126
"""Exit codes that are not the command's."""

PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""

DISK_BYTES = 2 << 30
"""Size of a new disk; the file is sparse."""

CONSOLE_LINES = 15
"""How much of the kernel's messages is shown when the guest does not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What to run, and on what machine."""

    command: Sequence[str]
    memory_mib: int = 4096
    limit_s: float = 300
    disk: Path | None = None
    """A file that is the disk at /persist; made if it is missing."""
    out: Path | None = None
    """A folder of the host that the guest may write, as $OUT; gets `qemu.pid`."""
    environ: Mapping[str, str] = field(default_factory=dict[str, str])


def run(boot: Boot, image: Image) -> int:
    """Boot, run the command, power off; returns its exit code, or `TIMED_OUT` or `NOT_UP`."""
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        control = Path(name)
        (control / "start").write_text(_start_script(boot), encoding="utf-8")
        if boot.disk is not None and not boot.disk.exists():
            _make_disk(boot.disk)
        machine = subprocess.Popen(
            [QEMU, *_arguments(boot, image, control)],
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        try:
            machine.wait(boot.limit_s)
        except subprocess.TimeoutExpired:
            print(f"vm: no end within {boot.limit_s:g} s: power cut", file=sys.stderr)
            return TIMED_OUT
        finally:
            machine.kill()
            machine.wait()
        if (code := control / "code").exists():
            return int(code.read_text())
        _show_console(control / "console")
        return NOT_UP


def _die_with_parent() -> None:
    """In the child: a guest whose runner was killed ends too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _make_disk(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)


def _show_console(path: Path) -> None:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    print(
        "vm: the guest ended without an answer", *lines[-CONSOLE_LINES:], sep="\n", file=sys.stderr
    )


def _start_script(boot: Boot) -> str:
    """What the guest does once it has the host's root filesystem."""
    environ = {
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
        "HOME": str(Path.home()),
        "TERM": "dumb",
        **({"OUT": "/.out"} if boot.out else {}),
        **boot.environ,
    }
    lines = [
        "exec </dev/null",
        "stty -F /dev/ttyS1 raw",
        *(f"export {name}={shlex.quote(value)}" for name, value in environ.items()),
        *([f"mount -t 9p -o {SHARE_OPTIONS},cache=none out /.out"] if boot.out else []),
        *(["mount -t ext4 /dev/vda /persist"] if boot.disk else []),
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"( exec {shlex.join(boot.command)} ) >/dev/ttyS1 2>&1",
        "echo $? >/.control/code",
        "sync",
        "echo o >/proc/sysrq-trigger",
        "while :; do sleep 1; done",
    ]
    return "\n".join(lines) + "\n"


def _arguments(boot: Boot, image: Image, control: Path) -> list[str]:
    shares = {"host": Path("/"), "control": control, **({"out": boot.out} if boot.out else {})}
    arguments = [
        # Not KVM: where it exists and is nested it may fail, or hang, and nothing tells before.
        *("-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-smp", str(os.cpu_count() or 1), "-m", str(boot.memory_mib)),
        *("-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs)),
        *("-append", "console=ttyS0 quiet panic=-1 oops=panic"),
        *("-serial", f"file:{control / 'console'}", "-serial", "stdio"),
    ]
    for name, path in shares.items():
        options = ",readonly=on,multidevs=remap" if name == "host" else ""
        arguments += [
            *("-fsdev", f"local,id={name},path={path},security_model=none{options}"),
            *("-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"),
        ]
    if boot.disk is not None:
        arguments += ["-drive", f"file={boot.disk},format=raw,if=virtio,cache=writeback"]
    if boot.out is not None:
        arguments += ["-pidfile", str(boot.out / "qemu.pid")]
    return arguments
