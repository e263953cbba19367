"""The gallery: the kit convicts every broken version, and acquits every sound one, again and again.

`TRIO_DRIVER_ACQUITTALS` says how often (default 2).
"""

import os

import pytest

from trio_driver.testing.gallery import EXHIBITS, Exhibit, try_exhibit

ACQUITTALS = int(os.environ.get("TRIO_DRIVER_ACQUITTALS", "2"))

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

ALL = pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)


@ALL
async def test_the_bug_is_found(exhibit: Exhibit) -> None:
    trial = await try_exhibit(exhibit, exhibit.broken)
    assert trial.is_convicted, exhibit.story


@ALL
async def test_the_version_without_it_is_acquitted(exhibit: Exhibit) -> None:
    for _ in range(ACQUITTALS):
        trial = await try_exhibit(exhibit, exhibit.sound)
        assert trial.problems == ()
        assert trial.runs >= 2, "no fault was tried"


@ALL
def test_each_has_a_story_and_a_name_of_its_own(exhibit: Exhibit) -> None:
    assert len(exhibit.story.splitlines()) > 1
    assert [each.name for each in EXHIBITS].count(exhibit.name) == 1
