"""The allocation directory exists for the length of a block."""

import os
import stat
from pathlib import Path

import pytest

from trio_driver.cli.alloc_dir import mounts_below, open_alloc_dir

SHARED = (
    "alloc",
    "alloc/data",
    "alloc/logs",
    "alloc/tmp",
    "t",
    "t/local",
    "t/secrets",
    "t/private",
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_the_layout_is_an_agents_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with open_alloc_dir("id", ["t"]) as directory:
            assert directory.name == "id"
            assert {name: mode_of(directory / name) for name in SHARED} == dict.fromkeys(
                SHARED, 0o777
            )
            assert mode_of(directory / "t/tmp") == 0o1777
            assert mode_of(directory) == 0o755
            as_root = os.geteuid() == 0
            assert mode_of(directory.parent) == (0o711 if as_root else 0o700)
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_and_nothing_is_followed_after_an_exception(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()

    def run() -> None:
        with open_alloc_dir("id", ["t"]) as directory:
            (directory / "t/local/link").symlink_to(outside)
            (directory / "alloc/logs").rmdir()
            (directory / "alloc/logs").symlink_to(outside)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").exists()


def test_mount_points_below_are_found() -> None:
    mountinfo = (
        "1 0 0:1 / / rw - ext4 x rw\n"
        "2 1 0:2 / /a/b/c\\040d rw - tmpfs x rw\n"
        "3 1 0:2 / /a/bc rw - tmpfs x rw\n"
    )
    assert mounts_below(Path("/a/b"), mountinfo) == ["/a/b/c d"]
