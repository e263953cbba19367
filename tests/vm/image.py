"""Kernel and initial file system of the guest, from Debian's packages, found through apt by their names.

Owns the cache. An image is made once for each kernel and each version of what stands here.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm.initramfs import DIRECTORY, EXECUTABLE, LINK, Entry, archive, find_modules

KERNEL_PACKAGE = "linux-image-amd64"
"""Depends on the newest kernel that Debian supports on this release."""

BUSYBOX_PACKAGE = "busybox-static"
QEMU, QEMU_PACKAGE = "qemu-system-x86_64", "qemu-system-x86"

MODULES = (
    *("virtio_pci", "9pnet_virtio", "9p"),  # the host's files
    *("overlay", "virtio_blk", "crc32c_generic", "ext4"),  # what the guest writes
)

SHARE_OPTIONS = "trans=virtio,version=9p2000.L,msize=262144"

INIT = f"""\
#!/bin/busybox sh
# The guest's first process: makes the host's root filesystem writable in memory and continues there.
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module" || echo "vm: cannot load $module"; done
hostname vm; ip link set lo up; dmesg -n 1
mount -t 9p -o {SHARE_OPTIONS},cache=loose,ro host /host
mount -t tmpfs memory /memory; mkdir /memory/new /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/new,workdir=/memory/work root /root
cd /root; mkdir -p proc sys dev tmp run .control .out persist
mount -t proc proc proc; mount -t sysfs sys sys; mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm; mount -t devpts -o ptmxmode=666 pts dev/pts
for name in fd:self/fd stdin:self/fd/0 stdout:self/fd/1 stderr:self/fd/2; do
  [ -e "dev/${{name%%:*}}" ] || ln -s "/proc/${{name#*:}}" "dev/${{name%%:*}}"
done
mount -t tmpfs -o mode=1777 shm dev/shm; mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 run run; mount -t cgroup2 cgroup sys/fs/cgroup
mount -t 9p -o {SHARE_OPTIONS},cache=none control .control
exec switch_root /root /bin/sh /.control/start
"""


class ImageError(Exception):
    """There is no second host on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots."""

    kernel: Path
    initramfs: Path


def provide_image() -> Image:
    """The image for the newest kernel; made now if it is not there. Installs QEMU if it is missing.

    Raises:
        ImageError: a package cannot be had, or this is no machine for it.
    """
    if shutil.which("apt-get") is None or os.uname().machine != "x86_64":
        raise ImageError("it needs Debian's packages, on x86-64")
    _install_qemu()
    package = _kernel_package()
    version = hashlib.sha256(f"{INIT}{MODULES}".encode()).hexdigest()[:8]
    directory = _cache() / f"{package}-{version}"
    if not directory.is_dir():
        _make(directory, package)
    return Image(directory / "vmlinuz", directory / "initramfs")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trio-driver-vm"


def _install_qemu() -> None:
    if shutil.which(QEMU) is not None:
        return
    if os.geteuid() != 0:
        raise ImageError(f"{QEMU} is missing, and only root can install {QEMU_PACKAGE}")
    print(f"vm: installing {QEMU_PACKAGE}", file=sys.stderr)
    _update_lists()
    _apt("install", "-y", "--no-install-recommends", QEMU_PACKAGE)


def _kernel_package() -> str:
    """The package that `KERNEL_PACKAGE` depends on now."""
    for attempt in (1, 2):
        known = _apt_cache("depends", KERNEL_PACKAGE)
        for line in known.splitlines():
            if line.strip().startswith("Depends: linux-image-"):
                return line.split()[-1]
        if attempt == 1:
            _update_lists()
    raise ImageError(f"apt knows no {KERNEL_PACKAGE}")


def _make(directory: Path, package: str) -> None:
    print(f"vm: making an image of {package}", file=sys.stderr)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as name:
        files = Path(name, "files")
        _unpack([package, BUSYBOX_PACKAGE], Path(name), files)
        made = Path(name, "made")
        made.mkdir()
        (made / "initramfs").write_bytes(archive(_initial_files(files)))
        shutil.copy(next(files.glob("boot/vmlinuz-*")), made / "vmlinuz")
        if not directory.is_dir():  # else somebody was faster
            made.rename(directory)


def _unpack(packages: list[str], work: Path, target: Path) -> None:
    """Download the packages and unpack them below `target`; nothing is installed."""
    try:
        _apt("download", *packages, folder=work)
    except ImageError:  # the lists are older than the archive
        _update_lists()
        _apt("download", *packages, folder=work)
    for file in work.glob("*.deb"):
        _run("dpkg-deb", "-x", str(file), str(target))


def _initial_files(files: Path) -> list[Entry]:
    busybox = next(files.rglob("bin/busybox"))
    folders = ("bin", "proc", "sys", "dev", "host", "memory", "root", "modules")
    modules = enumerate(find_modules(files, MODULES))
    return [
        *(Entry(name, DIRECTORY) for name in folders),
        Entry("bin/busybox", EXECUTABLE, busybox.read_bytes()),
        Entry("bin/sh", LINK, b"busybox"),
        Entry("init", EXECUTABLE, INIT.encode()),
        *(Entry(f"modules/{at:02}-{name}.ko", EXECUTABLE, data) for at, (name, data) in modules),
    ]


def _update_lists() -> None:
    if os.geteuid() != 0:
        raise ImageError("apt's lists are missing or old, and only root can update them")
    _apt("update")


def _apt(*arguments: str, folder: Path | None = None) -> None:
    _run("apt-get", "-q", "-q", *arguments, folder=folder)


def _apt_cache(*arguments: str) -> str:
    try:
        return _run("apt-cache", *arguments)
    except ImageError:
        return ""


def _run(*command: str, folder: Path | None = None) -> str:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ImageError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
