"""How long a plugin takes from exec to its handshake; an agent starts it three times.

python -m bench.launch [--raw-exec PATH] [--runs N]
"""

import os
import subprocess
import time
from collections import defaultdict

from bench.arguments import parse_arguments
from bench.drivers import Candidate, open_workbench
from bench.figures import Figure, table
from trio_driver.goplugin import Handshake, host_environment

END_LIMIT_S = 5.0


def main() -> None:
    arguments = parse_arguments("launch", runs=40, runs_help="launches of each plugin")
    with open_workbench(arguments.raw_exec) as bench:
        times_ms: defaultdict[str, list[float]] = defaultdict(list)
        for number in range(-2, arguments.runs):
            for candidate in bench.candidates:
                took_ms = launch(candidate)
                if number >= 0:
                    times_ms[candidate.name].append(took_ms)
    name = "plugin from exec to handshake"
    figures = [Figure(name, "ms", values) for values in times_ms.values()]
    print(table([(figures[0], figures[1] if len(figures) > 1 else None)]))


def launch(candidate: Candidate) -> float:
    """Milliseconds until the handshake line is there; the process is gone when this returns."""
    began_s = time.perf_counter()
    process = subprocess.Popen(
        candidate.command,
        env={**os.environ, **host_environment()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None, "it was asked for"
    with process.stdout:
        line = process.stdout.readline()
        took_s = time.perf_counter() - began_s
        Handshake.parse(line.decode())
        process.kill()
        process.wait(END_LIMIT_S)
    return took_s * 1e3


if __name__ == "__main__":
    main()
