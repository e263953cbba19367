"""Records that cannot be believed are a clear error, and hurt nothing else (design §4)."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.exits import assert_exited
from tests.support.host import Host, open_host
from tests.support.scripts import SLEEP
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver.linux import is_alive
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup

WRONG: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "torn": lambda data: data[: len(data) // 2],
    "foreign": lambda _: b'{"hello": "world"}\n',
    "not-json": lambda _: b"\xff\x00\xfe" * 100,
    "newer": lambda data: data.replace(b'"schema":1', b'"schema":2'),
    "other-types": lambda data: data.replace(b'"schema":1', b'"schema":"one"'),
}


async def spoil(host: Host, task: Task, record: str, wrong: str) -> None:
    """Have a record that cannot be believed, unseen by the plugin that wrote it."""
    await host.plugin.kill()
    path = task.run.path / record
    path.write_bytes(WRONG[wrong](path.read_bytes()))


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_executor_record_is_an_error_that_names_it(wrong: str) -> None:
    async with open_host() as host:
        good, bad = host.sh(SLEEP, name="good"), host.sh(SLEEP, name="bad")
        handles = [await host.start(task) for task in (good, bad)]
        executor = bad.executor
        await spoil(host, bad, "executor.json", wrong)
        await host.launch()
        await host.plugin.recover(handles[0])
        with pytest.raises(RpcError, match=r"executor\.json"):
            await host.plugin.recover(handles[1])
        with pytest.raises(RpcError, match=r"executor\.json"):
            await host.plugin.wait(bad)
        await host.plugin.destroy(bad)
        assert not is_alive(executor), "it held the fence, which named it"
        await host.becomes(executors=1, workloads=1)
        await host.plugin.inspect(good)


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_exit_record_is_an_error_that_names_it(wrong: str) -> None:
    async with open_host() as host:
        good, bad = host.sh("exit 3", name="good"), host.sh("exit 4", name="bad")
        handles = [await host.start(task) for task in (good, bad)]
        for task in (good, bad):
            await host.plugin.wait(task)
        await spoil(host, bad, "exit.json", wrong)
        await host.launch()
        with pytest.raises(RpcError, match=r"exit\.json"):
            await host.plugin.recover(handles[1])
        await host.plugin.recover(handles[0])
        assert_exited(await host.plugin.wait(good), 3)
        await host.plugin.destroy(bad)
        assert not bad.run.exists()


async def test_a_task_whose_record_is_wrong_is_started_afresh_by_a_new_id() -> None:
    async with open_host() as host:
        bad = host.sh(SLEEP, logs=False)
        await host.start(bad)
        await spoil(host, bad, "executor.json", "torn")
        await host.launch()
        await host.start(host.again(bad))
        await host.becomes(executors=1, workloads=1)


def litter(runs: Path, elsewhere: Path) -> None:
    """What does not belong into the directory, and a crash or a person may have left there."""
    (runs / "a-file").write_text("hello")
    (runs / "0123456789ab-0123456789ab").mkdir()
    (runs / "an-empty-directory").mkdir()
    os.mkfifo(runs / "a-fifo")
    os.symlink(elsewhere, runs / "ba9876543210-ba9876543210")
    doomed = runs / ".0123456789ab-aaaaaaaaaaaa.1"
    doomed.mkdir()
    (doomed / "log").write_text("half removed")


async def test_what_does_not_belong_into_the_state_directory_hurts_nobody() -> None:
    async with open_host(launch=False) as host:
        elsewhere = host.home / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "executor.json").write_text("precious")
        runs = host.state_dir / "runs"
        runs.mkdir(parents=True, mode=0o700)
        host.state_dir.chmod(0o700)
        litter(runs, elsewhere)
        await host.launch()
        task = host.sh("exit 3")
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 3)
        await until(lambda: not list(runs.glob(".*")), "the removal that was cut short is finished")
        assert (elsewhere / "executor.json").read_text() == "precious"
        for path in sorted(runs.iterdir()):
            if path.is_dir() and not path.is_symlink():
                path.rmdir() if path != task.run.path else None
            else:
                path.unlink()


async def test_an_unreadable_state_directory_is_an_error_that_says_what_to_change() -> None:
    async with open_host(launch=False) as host:
        host.state_dir.mkdir(mode=0o755)
        host.state_dir.chmod(0o755)
        with pytest.raises(RpcError, match=r"mode 0755.*set another state_dir"):
            await host.launch()
        host.state_dir.chmod(0o700)
        await host.shut_down()
        await host.launch()
