"""The fence is a lock that dies with its owner, is inherited by nobody, and names its owner."""

import os
from pathlib import Path

import pytest

from tests.support.forks import forked
from trio_driver.linux import is_alive
from trio_driver.state import (
    Fence,
    fence_owner,
    kill_fence_owner,
    open_free_fence,
    remove_free_fence,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fence"


def take(path: Path) -> None:
    """Hold the lock for the rest of this process's life."""
    assert Fence.try_take(path) is not None


def test_a_free_fence_has_no_owner(path: Path) -> None:
    assert fence_owner(path) is None
    path.touch()
    assert fence_owner(path) is None


def test_a_second_taker_gets_nothing_and_learns_who_has_it(path: Path) -> None:
    with forked(lambda: take(path)) as holder:
        assert Fence.try_take(path) is None
        assert fence_owner(path) == holder.pid


def test_the_fence_is_free_when_its_owner_has_ended_however(path: Path) -> None:
    for end in ("end", "kill"):
        with forked(lambda: take(path)) as holder:
            holder.end() if end == "end" else holder.kill()
            assert fence_owner(path) is None


def test_no_child_inherits_the_fence(path: Path) -> None:
    def take_and_leave_a_child() -> None:
        take(path)
        if os.fork() == 0:
            os.close(writer)
            os.read(reader, 1)  # until the test is over
            os._exit(0)

    reader, writer = os.pipe()
    with forked(take_and_leave_a_child) as holder:
        assert fence_owner(path) == holder.pid
        holder.kill()
        assert fence_owner(path) is None
        with forked(lambda: take(path)) as next_holder:
            assert fence_owner(path) == next_holder.pid
    os.close(writer)
    os.close(reader)


def test_killing_the_owner_frees_the_fence(path: Path) -> None:
    with forked(lambda: take(path)) as holder:
        kill_fence_owner(path)  # whether it is free at once is the kernel's to say
        holder.end()
        assert not is_alive(holder.process)
        assert not kill_fence_owner(path)


def test_killing_the_owner_of_a_free_or_missing_fence_does_nothing(path: Path) -> None:
    assert not kill_fence_owner(path)
    path.touch()
    assert not kill_fence_owner(path)


def test_a_free_fence_is_removed_and_a_held_one_is_not(path: Path) -> None:
    remove_free_fence(path)
    path.touch()
    remove_free_fence(path)
    assert not path.exists()
    with forked(lambda: take(path)):
        remove_free_fence(path)
        assert path.exists()


def test_a_fence_that_was_removed_under_its_holder_fences_again_under_its_name(path: Path) -> None:
    with forked(lambda: take(path)) as first:
        path.unlink()
        with forked(lambda: take(path)) as second:
            assert fence_owner(path) == second.pid
            assert first.pid != second.pid


def test_a_fence_that_is_free_is_held_for_the_block_and_no_longer(path: Path) -> None:
    path.touch()
    with open_free_fence(path) as is_free:
        assert is_free
        with forked(lambda: None if Fence.try_take(path) is None else os._exit(1)):
            pass
    with forked(lambda: take(path)), open_free_fence(path) as is_free:
        assert not is_free


def test_a_symbolic_link_is_no_fence(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    path.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic"):
        Fence.try_take(path)
    assert elsewhere.read_text() == "precious"


def test_a_fence_is_for_its_owner_only(path: Path) -> None:
    with forked(lambda: take(path)):
        assert path.stat().st_mode & 0o777 == 0o600
