"""Run a command on the second host.

Exit code: the command's own; 124 when the limit was reached, 125 when the guest did not come up or
crashed, 126 when this machine cannot have one.
To cut the power yourself, SIGKILL the process in OUT/qemu.pid; the disk keeps what was on it.
"""

import argparse
import sys
from pathlib import Path

from tests.vm.image import ImageError, provide_image
from tests.vm.machine import NO_HOST, Boot, run


def main() -> int:
    options = parse_options()
    try:
        image = provide_image()
    except ImageError as error:
        print(f"vm: no second host: {error}", file=sys.stderr)
        return NO_HOST
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    return run(
        Boot(
            command=options.command,
            memory_mib=options.memory,
            limit_s=options.limit,
            disk=options.disk,
            out=options.out,
            environ=dict(item.split("=", 1) for item in options.env),
        ),
        image,
    )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.vm", description=__doc__)
    parser.add_argument("-m", "--memory", metavar="MIB", type=int, default=4096)
    parser.add_argument("-t", "--limit", metavar="SECONDS", type=float, default=300)
    parser.add_argument("-d", "--disk", type=_absolute, help="file that is the disk at /persist")
    parser.add_argument("-o", "--out", type=_absolute, help="folder that is $OUT in the guest")
    parser.add_argument("-e", "--env", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    return parser.parse_args()


def _absolute(text: str) -> Path:
    return Path(text).absolute()


if __name__ == "__main__":
    sys.exit(main())
