"""What execve(2) can take of a job's texts."""

import pytest

from trio_driver.executor.exec_text import check_texts, exec_environ
from trio_driver.model import LaunchError


def test_a_name_ends_at_its_first_equals_sign() -> None:
    assert exec_environ({"A=B": "c", "D": "e=f", "G": ""}) == {"A": "B=c", "D": "e=f", "G": ""}


@pytest.mark.parametrize("env", [{"": "x"}, {"=A": "x"}, {"A\0": "x"}, {"A": "\0"}])
def test_a_variable_that_cannot_be_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(LaunchError, match="env"):
        exec_environ(env)


def test_the_option_with_a_nul_is_named() -> None:
    with pytest.raises(LaunchError, match="args: must not contain NUL"):
        check_texts(command="x", args=["y", "z\0"])
