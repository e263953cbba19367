"""Whom a workload runs as: resolved once, checked as numbers, and applied as these very numbers."""

import os

from trio_driver.linux import Credentials, UserNotFoundError, lookup
from trio_driver.model import DeniedIds, LaunchError


def credentials_of(user: str, denied: DeniedIds) -> Credentials | None:
    """The credentials of `user`; None for the user that this process is already, with all its
    groups.

    May block: the user database may be a network service.

    Raises:
        LaunchError: there is no such user.
        ConfigInvalidError: the uid or one of the groups is denied.
    """
    credentials = _other_user(user) if user else None
    if credentials is None:
        denied.check(uid=os.geteuid(), gids=(os.getegid(), *os.getgroups()))
    else:
        denied.check(uid=credentials.uid, gids=(credentials.gid, *credentials.groups))
    return credentials


def _other_user(user: str) -> Credentials | None:
    try:
        credentials = lookup(user)
    except UserNotFoundError as error:
        raise LaunchError("user", user, str(error)) from error
    if os.geteuid() != 0 and credentials.uid == os.geteuid():
        return None  # an ordinary user cannot set even its own groups
    return credentials
