"""Which spawner a plugin may use: one that runs the same code in the same namespaces.

Rules:
- Two plugins with the same build get executors from one spawner; any change of the code, the
  interpreter or a namespace gives a spawner of its own, and the old one ends with its last
  executor.
"""

import hashlib
import os
import sys

NAMESPACES = ("mnt", "pid", "net")
"""A process forked by a spawner has the spawner's."""


def build_id() -> str:
    """A short name for all that was imported so far, and for this process's namespaces.

    Call it when everything that an executor needs is imported. Files count by path, size and
    modification time:
    reading them would cost the start of each plugin more than it saves.
    """
    digest = hashlib.sha256(sys.version.encode())
    for name in sorted(sys.modules):
        path = getattr(sys.modules[name], "__file__", None)
        if isinstance(path, str) and name != "__main__":
            digest.update(_fingerprint(path))
    digest.update(_fingerprint(os.path.realpath(sys.argv[0])))
    for namespace in NAMESPACES:
        digest.update(os.readlink(f"/proc/self/ns/{namespace}").encode())
    return digest.hexdigest()[:12]


def _fingerprint(path: str) -> bytes:
    try:
        status = os.stat(path)
    except OSError:
        return f"{path}\0missing\n".encode()
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode()
