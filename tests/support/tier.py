"""Hosts that hold tasks together by other means, made of this one: a plugin in a mount namespace
without some hierarchies.

The plugin finds its means in its own mount table, so a hierarchy that is unmounted there does not
exist for it. The test still sees all of them. `user` is an ordinary user: nobody's uid, with the
right to read what the interpreter is made of.
"""

import enum
import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from trio_driver.linux import cgroup
from trio_driver.state import Tier

USER_UID = 65534
"""Whom `HostKind.USER` runs as: nobody, who owns nothing else."""


class HostKind(enum.Enum):
    """How the plugin's host looks."""

    NATIVE = "native"
    V2 = "v2"
    FREEZER = "freezer"
    ROOT_WITHOUT_CGROUPS = "root-none"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Host:
    """One kind: what comes before the plugin's command, and what must come out."""

    kind: HostKind
    prefix: tuple[str, ...]
    tier: Tier
    uid: int

    @property
    def has_cgroup(self) -> bool:
        return self.tier is not Tier.NONE


def host_of(kind: HostKind) -> Host | None:
    """How to get it here; None when this host or this user cannot."""
    mounts, is_root = cgroup.find_mounts(), os.geteuid() == 0
    own = Tier.NONE
    if is_root and mounts.unified is not None:
        own = Tier.HYBRID if mounts.v1 else Tier.CGROUP_V2
    match kind:
        case HostKind.NATIVE:
            return Host(kind, (), own, os.geteuid())
        case HostKind.USER:
            return Host(
                kind,
                _as_user() if is_root else (),
                Tier.NONE,
                USER_UID if is_root else os.geteuid(),
            )
        case _ if not is_root or not _may_unshare():
            return None
        case HostKind.V2 if mounts.unified is not None and mounts.v1:
            return Host(kind, _without(mounts, keep_unified=True), Tier.CGROUP_V2, 0)
        case HostKind.FREEZER if "freezer" in mounts.v1:
            return Host(kind, _without(mounts, keep_v1=True), Tier.FREEZER, 0)
        case HostKind.ROOT_WITHOUT_CGROUPS:
            return Host(kind, _without(mounts), Tier.NONE, 0)
        case _:
            return None


@functools.cache
def _may_unshare() -> bool:
    """Needs CAP_SYS_ADMIN, which root in a container may lack."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            ["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL
        ).returncode
        == 0
    )


def _without(
    mounts: cgroup.Mounts, *, keep_unified: bool = False, keep_v1: bool = False
) -> tuple[str, ...]:
    doomed = [] if keep_v1 else [str(path) for path in mounts.v1.values()]
    if mounts.unified is not None and not keep_unified:
        doomed.append(str(mounts.unified))
    script = f'umount {" ".join(dict.fromkeys(doomed))} && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")


def _as_user() -> tuple[str, ...]:
    ids: Sequence[str] = (f"--reuid={USER_UID}", f"--regid={USER_UID}", "--clear-groups")
    right = "dac_read_search"
    return (
        "setpriv",
        *ids,
        f"--inh-caps=-all,+{right}",
        f"--ambient-caps=-all,+{right}",
        f"--bounding-set=-all,+{right}",
    )
