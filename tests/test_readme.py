"""README.md promises two commands, and names files, options and commands: they are as it says.

What the two commands do is for `.ci/run` and for newcomers; here is what can be checked without a download.
"""

import re
from pathlib import Path

import click
import msgspec

from trio_driver import PluginConfig
from trio_driver.cli.commands import cli
from trio_driver.drivers import TrioDriver
from trio_driver.executor import host_tier
from trio_driver.sdk.driver import config_types
from trio_driver.state import Tier

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    """What stands below `## heading`, up to the next heading of any level."""
    _, _, rest = README.partition(f"\n## {heading}\n")
    outside_blocks = re.sub(r"^```.*?^```$", "", rest, flags=re.MULTILINE | re.DOTALL)
    following = re.search(r"^#+ .*$", outside_blocks, re.MULTILINE)
    return rest.partition(f"\n{following[0]}\n")[0] if following else rest


def test_there_are_exactly_two_headings_of_the_second_level() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == ["Run it", "Test it"]


def test_each_of_them_has_one_command_line() -> None:
    for heading in ("Run it", "Test it"):
        [block] = blocks("sh", section(heading))
        assert block.count("\n") == 1, heading
        assert section(heading).count("```") == 2, heading


def test_the_checks_run_the_command_of_the_readme() -> None:
    assert "Test it" in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_file_that_is_named_exists() -> None:
    links = re.findall(r"\]\(([^):]+)\)", README)
    files = re.findall(r"\bexamples/[\w.]+", README)
    assert links
    assert files
    assert [name for name in [*links, *files] if not (PROJECT / name).exists()] == []


def option_names(config: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(config)}


def test_the_options_of_the_plugin_block_are_all_there() -> None:
    [block] = [block for block in blocks("hcl") if block.startswith("plugin ")]
    assert set(re.findall(r"^ +#? *(\w+) += ", block, re.MULTILINE)) == option_names(PluginConfig)


def test_the_options_of_a_task_are_all_there() -> None:
    [block] = [block for block in blocks("hcl") if block.startswith("task ")]
    config = block.partition("config {")[2].partition("\n  }")[0]
    wanted = option_names(config_types(TrioDriver)[1])
    assert set(re.findall(r"^ +#? *(\w+) += ", config, re.MULTILINE)) == wanted


def test_every_command_is_told_and_no_other() -> None:
    told = set(re.findall(r"`trio-driver (\w+)", README))
    assert isinstance(cli, click.Group)
    assert told == set(cli.commands)


def test_every_kind_of_containment_is_told() -> None:
    told = set(re.findall(r"^\| `([\w-]+)` \|", README, re.MULTILINE))
    assert told == {tier.value for tier in Tier}
    assert host_tier() in Tier
