"""`trio-driver install`: a link that an agent can use, and nothing else changed."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from trio_driver.cli.job_file import read_config
from trio_driver.cli.trust import weakness
from trio_driver.goplugin import open_plugin

from .program import PROJECT, Sandbox

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs other users' files")

AGENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def program(sandbox: Sandbox) -> Path:
    """The program as it is installed: it needs nothing of its user's environment."""
    path = sandbox.root / "bin" / "trio-driver"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\nimport sys\n\nsys.path.insert(0, {str(PROJECT)!r})\n"
        "from trio_driver.cli.main import main\n\nmain()\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def plugins(sandbox: Sandbox) -> Path:
    path = sandbox.root / "plugins"
    path.mkdir(mode=0o755)
    return path


def identity(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_ctime_ns


def test_an_agent_can_use_what_was_installed(
    sandbox: Sandbox, program: Path, plugins: Path
) -> None:
    result = sandbox.run_command([str(program), "install", "--plugin-dir", str(plugins)])
    assert result.returncode == 0, result.stderr
    assert f"made: {plugins}/trio-driver -> {program}" in result.stderr
    assert [path.readlink() for path in plugins.iterdir()] == [program]

    async def use() -> None:
        async with open_plugin([str(plugins / "trio-driver")], env=AGENT) as client:
            await client.ping()

    trio.run(use)


def test_the_block_can_be_pasted(sandbox: Sandbox, program: Path, plugins: Path) -> None:
    command = [str(program), "install", "--plugin-dir", str(plugins), "--name", "other"]
    block = sandbox.run_command(command).stdout
    assert 'plugin "other" {\n  config {' in block
    options = block.partition("config {")[2].partition("}")[0]
    assert "# orphan_grace = " in options
    # Without the comment signs, it is the plugin's configuration.
    lines = [line.strip()[2:] for line in options.splitlines() if " = " in line]
    assert {"enabled", "state_dir"} <= read_config("\n".join(lines), path="block").keys()


def test_a_second_time_changes_nothing(sandbox: Sandbox, program: Path, plugins: Path) -> None:
    command = [str(program), "install", "--plugin-dir", str(plugins)]
    sandbox.run_command(command)
    before = identity(plugins / "trio-driver")
    result = sandbox.run_command(command)
    assert result.returncode == 0
    assert "unchanged: " in result.stderr
    assert identity(plugins / "trio-driver") == before


def test_a_dry_run_changes_nothing(sandbox: Sandbox, program: Path, plugins: Path) -> None:
    result = sandbox.run_command(
        [str(program), "install", "--dry-run", "--plugin-dir", str(plugins)]
    )
    assert result.returncode == 0
    assert "would make: " in result.stderr
    assert list(plugins.iterdir()) == []


def make_file(path: Path) -> None:
    path.write_text("theirs")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_dangling_link(path: Path) -> None:
    path.symlink_to("/nowhere")


def make_link(path: Path) -> None:
    path.symlink_to("/bin/true")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_file, "is a file"),
        (make_directory, "is a directory"),
        (make_dangling_link, "is a link to /nowhere, which does not exist"),
        (make_link, "is a link to /bin/true, not a link to"),
    ],
)
def test_what_is_in_the_way_stays(
    sandbox: Sandbox, program: Path, plugins: Path, make: Callable[[Path], None], text: str
) -> None:
    make(plugins / "trio-driver")
    before = identity(plugins / "trio-driver")
    result = sandbox.run_command([str(program), "install", "--plugin-dir", str(plugins)])
    assert result.returncode == 1
    assert text in result.stderr
    assert "rm " in result.stderr
    assert identity(plugins / "trio-driver") == before


def test_a_missing_directory_is_not_made(sandbox: Sandbox, program: Path) -> None:
    missing = sandbox.root / "missing"
    result = sandbox.run_command([str(program), "install", "--plugin-dir", str(missing)])
    assert result.returncode == 1
    assert f"install -d -m 755 {missing}" in result.stderr
    assert not missing.exists()


def test_a_directory_that_all_can_write_is_refused(
    sandbox: Sandbox, program: Path, plugins: Path
) -> None:
    plugins.chmod(0o1777)
    result = sandbox.run_command([str(program), "install", "--plugin-dir", str(plugins)])
    assert result.returncode == 1
    assert "can be written by every user (mode 1777)" in result.stderr
    assert list(plugins.iterdir()) == []


@needs_root
def test_a_program_that_another_user_could_change_is_refused(
    sandbox: Sandbox, program: Path, plugins: Path
) -> None:
    os.chown(program.parent, 65534, 65534)
    result = sandbox.run_command([str(program), "install", "--plugin-dir", str(plugins)])
    assert result.returncode == 1
    assert f"{program.parent} belongs to" in result.stderr
    assert "/opt/trio-driver" in result.stderr
    assert list(plugins.iterdir()) == []


def test_a_program_that_does_not_start_is_not_installed(
    sandbox: Sandbox, program: Path, plugins: Path
) -> None:
    # It knows its command line, and nothing else.
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom trio_driver.cli.main import main\n\n"
        "if len(sys.argv) == 1:\n    sys.exit(3)\nmain()\n"
    )
    command = [str(program), "install", "--plugin-dir", str(plugins)]
    result = sandbox.run_command(command)
    assert result.returncode == 1
    assert "does not start as a plugin" in result.stderr
    assert list(plugins.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "x.exe"])
def test_a_name_that_no_agent_takes_is_refused(
    sandbox: Sandbox, program: Path, plugins: Path, name: str
) -> None:
    command = [str(program), "install", "--plugin-dir", str(plugins), "--name", name]
    result = sandbox.run_command(command)
    assert result.returncode == 1
    assert f'--name "{name}"' in result.stderr


def test_the_systems_own_files_are_trusted() -> None:
    assert weakness(Path("/bin/sh")) is None
    assert weakness(Path("/proc/self/exe")) is None or os.geteuid() != 0


@needs_root
def test_a_path_is_as_weak_as_what_it_leads_through(tmp_path: Path) -> None:
    for name in ("safe", "weak"):
        (tmp_path / name).mkdir(mode=0o755)
    target = tmp_path / "weak" / "program"
    target.write_text("")
    link = tmp_path / "safe" / "program"
    link.symlink_to("../weak/program")
    assert weakness(link) is None
    os.chown(tmp_path / "weak", 65534, 65534)
    assert f"{tmp_path / 'weak'} belongs to" in str(weakness(link))
    os.chown(tmp_path / "weak", 0, 0)
    (tmp_path / "weak").chmod(0o777)
    assert "every user" in str(weakness(link))
    (tmp_path / "weak").chmod(0o1777)
    assert weakness(link) is None
    target.chmod(0o666)
    assert f"{target} can be written by every user" in str(weakness(link))


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        weakness(tmp_path / "a")
