"""Stopping and signalling: the polite signal, the grace time, and the end of what ignores both."""

import pytest

from .api import ApiError
from .installation import ours_only
from .jobs import run_job, run_with
from .nomad import Agent
from .waiting import wait_ended


async def test_stop_sends_the_jobs_signal_and_waits_for_the_end(agent: Agent) -> None:
    job = await run_job(agent, "stop_with_signal")
    allocation = await job.allocation()
    await allocation.first_pid()
    await job.stop(limit_s=15)
    state = await allocation.when_dead()
    assert not state.failed
    assert state.of_type("Terminated")[0].detail("exit_code") == "0"
    assert b"stopped by USR1\n" in await allocation.output(until=b"USR1\n")


async def test_stop_sends_sigint_when_the_job_names_no_signal(agent: Agent) -> None:
    job = await run_job(agent, "stop_by_default")
    allocation = await job.allocation()
    await allocation.first_pid()
    await job.stop(limit_s=15)
    assert b"stopped by INT\n" in await allocation.output(until=b"stopped by INT\n")


async def test_stop_kills_all_that_ignore_the_signal_after_the_grace_time(agent: Agent) -> None:
    job = await run_job(agent, "ignores_signals")
    allocation = await job.allocation()
    pids = (await allocation.output(until=b"\n")).split()
    await job.stop(limit_s=15)
    state = await allocation.when_dead()
    assert state.of_type("Terminated")[0].detail("signal") == "9"
    for pid in pids:
        await wait_ended(int(pid), limit_s=1)


async def test_alloc_signal_reaches_the_task(agent: Agent) -> None:
    allocation = await run_with(agent, "signalled")
    await allocation.first_pid()
    await allocation.signal("SIGHUP")
    assert b"got HUP\n" in await allocation.output(until=b"got HUP\n")
    await allocation.signal("SIGUSR2", "task")
    assert b"got USR2\n" in await allocation.output(until=b"got USR2\n")


@ours_only  # raw_exec sends SIGINT
async def test_alloc_signal_with_an_unknown_name_is_an_error_and_sends_nothing(
    agent: Agent,
) -> None:
    allocation = await run_with(agent, "signalled")
    pid = await allocation.first_pid()
    with pytest.raises(ApiError) as caught:
        await allocation.signal("SIGNOPE")
    assert "SIGNOPE" in caught.value.text
    await allocation.signal("SIGHUP")
    output = await allocation.output(until=b"got HUP\n")
    assert output == b"%d\ngot HUP\n" % pid


async def test_alloc_restart_ends_one_run_before_the_next(agent: Agent) -> None:
    allocation = await run_with(agent, "restarts_after_loss")
    first = await allocation.first_pid()
    await allocation.restart()
    output = await allocation.when_events("Started", 2)
    assert output.state == "running"
    await wait_ended(first, limit_s=1)
