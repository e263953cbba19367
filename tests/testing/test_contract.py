"""`check_driver`: acquits the drivers of this project, and says what is wrong with others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.broken_driver import Silent
from trio_driver.drivers import TrioDriver
from trio_driver.testing import ContractError, check_driver
from trio_driver.testing.claims import CLAIMS

STAYS = {"command": "sleep", "args": ["1000"]}
ENDS = {"command": "true"}

pytestmark = pytest.mark.cgroup


async def test_the_built_in_driver_keeps_the_contract() -> None:
    await check_driver(TrioDriver, stays=STAYS, ends=ENDS)


async def test_a_driver_that_the_node_never_shows_is_found_out() -> None:
    claim = "fingerprints_at_once_and_for_ever"
    others = [each.__name__ for each in CLAIMS if each.__name__ != claim]
    with pytest.raises(ContractError, match=f"FAILS  {claim}.*TooSlowError"):
        await check_driver(Silent, stays={}, ends={}, but=others)


async def test_what_is_no_plugin_keeps_nothing_and_every_claim_says_why(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        await check_driver("/bin/true", stays=STAYS, ends=ENDS)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + len(CLAIMS)
    assert all("HandshakeError" in line for line in lines[1:])


def test_every_claim_has_a_sentence_and_its_own_name() -> None:
    assert all(claim.__doc__ for claim in CLAIMS)
    assert len({claim.__name__ for claim in CLAIMS}) == len(CLAIMS)


def test_the_command_prints_a_verdict_for_each_claim() -> None:
    command = [sys.executable, "-m", "trio_driver.testing.contract", "/bin/true"]
    done = subprocess.run(
        [*command, "--stays", "{}", "--ends", "{}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.count("FAILS") == len(CLAIMS)
    assert done.stdout.endswith(f"0 of {len(CLAIMS)} claims hold\n")


async def test_nomads_own_raw_exec_is_told_what_it_lacks() -> None:
    plugin = os.environ.get("TRIO_DRIVER_TEST_GO_PLUGIN", "")
    if not plugin:
        pytest.skip("TRIO_DRIVER_TEST_GO_PLUGIN names no binary of raw_exec as a plugin")
    with pytest.raises(ContractError) as caught:
        await check_driver(plugin, stays=STAYS, ends=ENDS, plugin_config={"enabled": True})
    failed = {line.split()[1].rstrip(":") for line in str(caught.value).splitlines()[1:]}
    assert {"knows_no_signal_that_there_is_not", "undoes_a_start_that_was_cancelled"} <= failed
