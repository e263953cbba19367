"""The options that all measurements share."""

import argparse
import os


def parse_arguments(program: str, *, runs: int, runs_help: str) -> argparse.Namespace:
    """`runs` and `raw_exec`, which is None when the other driver is not there to be compared."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{program}")
    parser.add_argument("--runs", type=int, default=runs, help=f"{runs_help} (default {runs})")
    parser.add_argument(
        "--raw-exec",
        metavar="PATH",
        default=os.environ.get("RAW_EXEC_PLUGIN"),
        help="a plugin binary that serves Nomad's raw_exec (default: $RAW_EXEC_PLUGIN, else none)",
    )
    return parser.parse_args()
