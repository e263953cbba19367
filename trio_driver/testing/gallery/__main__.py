"""Prints the gallery: each story, and what the kit says of both versions."""

import argparse
import sys
import textwrap

import trio

from trio_driver.testing.gallery import EXHIBITS, try_exhibit


async def show(names: list[str]) -> int:
    """Try the exhibits of these names, or all; how many verdicts are wrong."""
    wrong = 0
    for exhibit in EXHIBITS:
        if names and exhibit.name not in names:
            continue
        print(f"{exhibit.name} ({exhibit.fault.value})\n")
        print(textwrap.indent(exhibit.story, "    "), flush=True)
        broken = await try_exhibit(exhibit, exhibit.broken)
        sound = await try_exhibit(exhibit, exhibit.sound)
        wrong += not broken.is_convicted or sound.is_convicted
        for problem in (broken.problems or ("NOT FOUND",))[:1]:
            print(f"\n    broken: {problem}")
        verdict = sound.problems[0] if sound.problems else f"nothing in {sound.runs} runs"
        print(f"    sound:  {verdict}\n")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trio_driver.testing.gallery")
    parser.add_argument("names", nargs="*", help="which exhibits; all by default")
    return min(1, trio.run(show, parser.parse_args().names))


if __name__ == "__main__":
    sys.exit(main())
