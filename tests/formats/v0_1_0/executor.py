"""An executor as 0.1.0 had it, as far as others can see: fence, records, socket, requests, end.

    executor.py STATE_DIR FENCE RUN TASK_ID ALLOC_ID TASK_NAME COMMAND ARGS...

Knows nothing of the package: what is written here is the format. Prints a line when it serves.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping

DONE = bytes.fromhex("0000000212 00")
"""A frame of two bytes: `Answer.done`."""


def start_ticks() -> int:
    with open("/proc/self/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def write(directory: str, name: str, record: Mapping[str, object]) -> None:
    new = os.path.join(directory, f".{name}.new")
    with open(new, "w") as file:
        json.dump(record, file)
    os.rename(new, os.path.join(directory, name))


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def answer(connection: socket.socket, workload: subprocess.Popen[bytes]) -> None:
    """Requests of 0.1.0: field 2 is Stop {1: signum, 2: grace as a double}, field 3 Signal {1: signum}."""
    (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
    request = connection.recv(length, socket.MSG_WAITALL)
    fields: dict[int, int] = {}
    at = 2
    while at < len(request):
        key, at = varint(request, at)
        if key & 7 == 1:
            at += 8
        else:
            fields[key >> 3], at = varint(request, at)
    workload.send_signal(fields.get(1, signal.SIGKILL))
    connection.sendall(DONE)


def take_fence(state: str, fence_name: str) -> None:
    for name in ("locks", "runs"):
        os.makedirs(f"{state}/{name}", 0o700, exist_ok=True)
    fence = os.open(f"{state}/locks/{fence_name}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(fence, fcntl.LOCK_EX | fcntl.LOCK_NB)


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def serve_until_ended(
    run: str, workload: subprocess.Popen[bytes], committed: Mapping[str, object]
) -> None:
    pidfd = os.pidfd_open(workload.pid)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(f"{run}/socket")
        listener.listen()
        write(run, "committed.json", committed)
        print("serves", flush=True)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(pidfd, selectors.EVENT_READ)
        while workload.poll() is None:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    with connection:
                        answer(connection, workload)


def main() -> None:
    state, fence_name, run_name, task_id, alloc_id, task_name, *command = sys.argv[1:]
    take_fence(state, fence_name)
    run = f"{state}/runs/{run_name}"
    os.mkdir(run, 0o700)
    record: dict[str, object] = {
        "schema": 1, "task_id": task_id, "alloc_id": alloc_id, "task_name": task_name,
        "alloc_root": "/data/alloc", "driver": "trio", "pid": os.getpid(),
        "start_ticks": start_ticks(), "boot_id": boot_id(), "plugin_pid": 1,
        "plugin_start_ticks": 0, "created_at_s": time.time(),
        "containment": {"tier": "none", "kill_path": "", "own_paths": [], "memory_path": ""},
    }  # fmt: skip
    write(run, "executor.json", record)
    workload = subprocess.Popen(command, start_new_session=True)
    started_at_s = time.time()
    committed = {"workload_pid": workload.pid, "started_at_s": started_at_s, "schema": 1}
    serve_until_ended(run, workload, committed)
    code = workload.returncode
    how = {"type": "exited", "code": code} if code >= 0 else {"type": "signaled", "signum": -code}
    ended = {
        "schema": 1, "exit": how, "oom_killed": False, "started_at_s": started_at_s,
        "ended_at_s": time.time(), "boot_id": boot_id(),
    }  # fmt: skip
    write(run, "exit.json", ended)


if __name__ == "__main__":
    main()
