"""Diagnostics: what a person wants to know about a program that is no plugin.

Must not know: why it is asked.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MACHINES: Final = {3: "x86", 40: "arm", 62: "x86-64", 183: "aarch64", 243: "riscv"}
"""e_machine of common hosts (elf(5))."""


def describe(command: Sequence[str], *, returncode: int | None, said: Collection[str]) -> str:
    """Some lines about the program and its run.

    Args:
        command: path and arguments.
        returncode: as in `subprocess`; None when it never ran.
        said: its last words on stderr.
    """
    lines = [f"command: {' '.join(command)}", f"file: {_describe_file(command[0])}"]
    if returncode is not None:
        lines.append(f"ended with: {_describe_end(returncode)}")
    lines += [f"stderr: {text}" for text in said] or ["stderr: (nothing)"]
    return "\n".join(lines)


def _describe_end(returncode: int) -> str:
    if returncode >= 0:
        return f"status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _describe_file(name: str) -> str:
    path = shutil.which(name) or name
    try:
        status = os.stat(path)
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError as error:
        return f"{path}: {error.strerror}"
    owner = f"{status.st_uid}:{status.st_gid}"
    return f"{path}, {stat.filemode(status.st_mode)}, owner {owner}, {_describe_head(head)}"


def _describe_head(head: bytes) -> str:
    if head.startswith(b"\x7fELF") and len(head) == 20:
        order = "little" if head[5] == 1 else "big"
        machine = int.from_bytes(head[18:20], order)
        return f"ELF for {_MACHINES.get(machine, f'machine {machine}')}"
    if head.startswith(b"#!"):
        return "a script"
    return "neither ELF nor a script"
