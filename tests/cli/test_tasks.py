"""Which run a word on the command line names."""

from pathlib import Path

import msgspec
import pytest

from tests.state.test_records import EXECUTOR
from trio_driver.cli.tasks import NamedRun, TaskNameError, find_all, find_run
from trio_driver.state import StateDirectory, open_state_directory

WHERE = Path("/run/x")

IDS = (
    ("aaaa1111-0000/web/11111111", "web"),
    ("aaaa2222-0000/web/22222222", "web"),
    ("aaaa2222-0000/sidecar/33333333", "sidecar"),
    ("bbbb3333-0000/a-job/44444444", "a-job"),
)


def named(state: StateDirectory, task_id: str, name: str) -> NamedRun:
    alloc_id = task_id.partition("/")[0]
    run = state.run_of(task_id=task_id, alloc_id=alloc_id, task_name=name)
    record = msgspec.structs.replace(EXECUTOR, task_id=task_id, alloc_id=alloc_id, task_name=name)
    return NamedRun(run, record)


@pytest.fixture
def runs(tmp_path: Path) -> list[NamedRun]:
    state = open_state_directory(tmp_path / "state")
    return [named(state, *each) for each in IDS]


@pytest.mark.parametrize(
    ("word", "index"),
    [
        ("aaaa1111-0000/web/11111111", 0),
        ("aaaa1111-0000", 0),
        ("aaaa1", 0),
        ("aaaa2/web", 1),
        ("aaaa2222-0000/side", 2),
        ("sidecar", 2),
        ("a-job", 3),
        ("bbbb", 3),
    ],
)
def test_a_word_names_the_one_task_that_it_fits(
    runs: list[NamedRun], word: str, index: int
) -> None:
    assert find_run(word, runs, WHERE) is runs[index]


def test_the_name_of_a_directory_names_its_run(runs: list[NamedRun]) -> None:
    assert find_run(runs[1].run.name, runs, WHERE) is runs[1]


@pytest.mark.parametrize(("word", "count"), [("web", 2), ("aaaa", 3), ("aaaa2222-0000", 2)])
def test_a_word_that_fits_several_is_refused_with_their_ids(
    runs: list[NamedRun], word: str, count: int
) -> None:
    with pytest.raises(TaskNameError, match=f'"{word}" names {count} tasks') as caught:
        find_run(word, runs, WHERE)
    assert str(caught.value).count("\n  aaaa") == count


@pytest.mark.parametrize(
    "word", ["", "a", "aaa", "aa/web", "WEB", "aaaa1111/sidecar", "/web", "bbbbb"]
)
def test_a_word_that_fits_none_is_refused_with_all_there_are(
    runs: list[NamedRun], word: str
) -> None:
    with pytest.raises(TaskNameError, match="there are:") as caught:
        find_run(word, runs, WHERE)
    assert all(task_id in str(caught.value) for task_id, _ in IDS)


def test_where_there_are_no_tasks_the_directory_is_named() -> None:
    with pytest.raises(TaskNameError, match='no task "web": there are no tasks in /run/x'):
        find_run("web", [], WHERE)


def test_several_words_for_one_task_name_it_once(runs: list[NamedRun]) -> None:
    assert find_all(["sidecar", "aaaa2/sidecar", "a-job"], runs, WHERE) == [runs[2], runs[3]]


def test_a_run_without_a_record_is_named_by_its_directory_alone(runs: list[NamedRun]) -> None:
    torn = NamedRun(runs[3].run, None)
    assert find_run(torn.run.name, [torn], WHERE) is torn
    with pytest.raises(TaskNameError):
        find_run("a-job", [torn], WHERE)
