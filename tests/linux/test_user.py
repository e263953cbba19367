"""Names of users, against this host's real user database."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from trio_driver.linux import Credentials, UserNotFoundError, lookup, user


def test_a_name_is_found_with_its_groups() -> None:
    entry = pwd.getpwuid(0)
    found = lookup(entry.pw_name)
    assert (found.uid, found.gid, found.name, found.home) == (0, 0, entry.pw_name, entry.pw_dir)
    listed = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
    assert set(found.groups) == listed | {entry.pw_gid}


def test_every_group_is_listed_once_the_primary_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def getgrouplist(_: str, gid: int) -> list[int]:
        return [7, gid, 7, 0, gid]

    monkeypatch.setattr(os, "getgrouplist", getgrouplist)
    nobody = lookup("nobody")
    assert nobody.groups == (nobody.gid, 7, 0)


def test_a_user_without_further_groups_does_not_get_group_0() -> None:
    nobody = lookup("nobody")
    assert nobody.uid != 0
    assert 0 not in nobody.groups


def test_a_dynamic_user_is_its_number() -> None:
    assert lookup("nomad-80123") == Credentials(
        80123, 80123, (80123,), "nomad-80123", "/nonexistent"
    )


def test_a_number_is_a_name_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lookup("0").uid == 0
    real = pwd.getpwnam

    def getpwnam(name: str) -> pwd.struct_passwd:
        return real("nobody" if name == "0" else name)

    monkeypatch.setattr(user.pwd, "getpwnam", getpwnam)
    assert lookup("0").name == "nobody"


def test_a_name_of_the_database_comes_before_a_dynamic_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nobody = pwd.getpwnam("nobody")

    def getpwnam(_: str) -> pwd.struct_passwd:
        return nobody

    monkeypatch.setattr(user.pwd, "getpwnam", getpwnam)
    assert lookup("nomad-80123").uid == nobody.pw_uid


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "",
        "nomad-",
        "nomad-0",
        "nomad-007",
        "nomad--1",
        "nomad-4294967295",
        "nomad-99999999999",
        "nomad-٣",
        "4294967295",
        "4294967294",
        "-1",
        "9" * 5000,
        "root\0",
        "root ",
        "root:x",
        "\udcff",
    ],
)
def test_nobody_else_is_a_user(name: str) -> None:
    with pytest.raises(UserNotFoundError) as caught:
        lookup(name)
    assert f"unknown user {name}" in str(caught.value)
    assert caught.value.user == name
