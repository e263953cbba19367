"""Records: what a program tells its successor, and when it is killed between two steps."""

from pathlib import Path

import trio

from trio_driver.testing.checkpoints import Fault
from trio_driver.testing.gallery.exhibit import Exhibit

WHOLE = "the whole record"


async def broken_torn_record(directory: Path) -> None:
    """A record is written where the reader looks for it.

    Killed in the middle, half of it stands there. The next program reads a pid that is a part of
    another one.
    """
    with (directory / "record").open("w") as file:
        file.write(WHOLE[:5])
        file.flush()
        await trio.lowlevel.checkpoint()
        file.write(WHOLE[5:])


async def sound_torn_record(directory: Path) -> None:
    """Written beside it, then renamed: whole or absent."""
    new = directory / "record.new"
    with new.open("w") as file:
        file.write(WHOLE[:5])
        file.flush()
        await trio.lowlevel.checkpoint()
        file.write(WHOLE[5:])
    new.rename(directory / "record")


def _is_torn(directory: Path) -> str | None:
    path = directory / "record"
    if path.exists() and path.read_text() != WHOLE:
        return f"a torn record: {path.read_text()!r}"
    return None


async def broken_reply_before_record(directory: Path) -> None:
    """The answer goes out first, and the record is written afterwards.

    Killed between the two: Nomad has the handle of a task that no successor can find. It asks for the
    task, is told that there is none, and starts it again, beside the first one.
    """
    (directory / "reply").touch()
    await trio.lowlevel.checkpoint()
    (directory / "record").touch()


async def sound_reply_before_record(directory: Path) -> None:
    """The record first: what Nomad knows of is on disk."""
    (directory / "record").touch()
    await trio.lowlevel.checkpoint()
    (directory / "reply").touch()


def _is_unknown(directory: Path) -> str | None:
    if (directory / "reply").exists() and not (directory / "record").exists():
        return "Nomad was answered, and there is no record"
    return None


async def broken_result_invented(directory: Path) -> None:
    """What is not known is told as success.

    The exit code is 0 until somebody learns better. The one who would have was killed, so the batch
    job that never finished counts as done.
    """
    (directory / "exit").write_text("0")
    await trio.lowlevel.checkpoint()
    (directory / "exit").write_text("3")


async def sound_result_invented(directory: Path) -> None:
    """Nothing is told before it is known; who reads says "lost" then."""
    await trio.lowlevel.checkpoint()
    (directory / "exit").write_text("3")


def _is_invented(directory: Path) -> str | None:
    path = directory / "exit"
    if path.exists() and path.read_text() == "0":
        return "a task that failed is told to have succeeded"
    return None


EXHIBITS = (
    Exhibit(broken=broken_torn_record, sound=sound_torn_record, fault=Fault.KILL, witness=_is_torn),
    Exhibit(
        broken=broken_reply_before_record,
        sound=sound_reply_before_record,
        fault=Fault.KILL,
        witness=_is_unknown,
    ),
    Exhibit(
        broken=broken_result_invented,
        sound=sound_result_invented,
        fault=Fault.KILL,
        witness=_is_invented,
    ),
)
