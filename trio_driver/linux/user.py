"""Whom a task runs as: a name of the user database, or one of Nomad's dynamic users.

Rules:
- A name is resolved once, to numbers; what is checked and what is applied are those numbers.
- Nothing is guessed: an id without an entry has no known group, so it is an unknown user.
- The user database may be a network service and block: not for the plugin's event loop.

It must not know who is allowed: deny lists are the caller's.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

_DYNAMIC = re.compile(r"nomad-([1-9][0-9]{0,9})", re.ASCII)
_NUMERIC = re.compile(r"[0-9]{1,10}", re.ASCII)

_ID_LIMIT = 2**32 - 1
"""First number that is no id: (uid_t)-1 tells setuid(2) and chown(2) to change nothing."""

DYNAMIC_HOME = "/nonexistent"
"""Home of a dynamic user, which has no entry in the user database. Source: Nomad, helper/users."""


class UserNotFoundError(LookupError):
    """No such user on this host."""

    def __init__(self, user: str) -> None:
        """Name the `user` that was asked for."""
        super().__init__(
            f"unknown user {user}: neither a name nor an id of this host's user database, "
            "nor a dynamic user nomad-<id>"
        )
        self.user = user


@dataclass(frozen=True, slots=True)
class Credentials:
    """What setgroups, setgid and setuid need, and what goes into USER and HOME.

    `groups` holds every group once, the primary one first.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


def lookup(user: str) -> Credentials:
    """The credentials of `user`: a name, else a dynamic user `nomad-<n>`, else a number as uid.

    Raises:
        UserNotFoundError: there is no such user; `nomad-0` is not one either.

    Source: getpwnam(3), getgrouplist(3); Nomad, helper/users (uid = gid = n of dynamic users).
    """
    entry = _by_name(user)
    if entry is None and (dynamic := _DYNAMIC.fullmatch(user)):
        number = int(dynamic[1])
        if number < _ID_LIMIT:
            return Credentials(number, number, (number,), user, DYNAMIC_HOME)
    if entry is None and _NUMERIC.fullmatch(user):
        entry = _by_uid(int(user))
    if entry is None:
        raise UserNotFoundError(user)
    # The group database may list the primary group again; each id is wanted once.
    groups = (entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Credentials(
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(dict.fromkeys(groups)),
        name=entry.pw_name,
        home=entry.pw_dir,
    )


def _by_name(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a zero byte, or not encodable
        return None


def _by_uid(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
