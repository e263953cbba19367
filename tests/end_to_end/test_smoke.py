from tests.support.host import open_host


async def test_smoke() -> None:
    async with open_host() as host:
        task = host.sh("echo hello; exit 3")
        await host.plugin.start(task)
        r = await host.plugin.wait(task)
        assert r.result.exit_code == 3
        assert await task.out.wait_end() == "hello\n"
