"""Signal names."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.linux import UnknownSignalError, name_of_signal, signum_of

# nomad-protocol.md, Appendix C: the names that a job can be registered with.
NOMADS = (
    "NULL ABRT ALRM BUS CONT FPE HUP ILL INT IO IOT KILL PIPE PROF QUIT SEGV STOP SYS TERM TRAP "
    "TSTP TTIN TTOU USR1 USR2 WINCH XCPU XFSZ"
)


@pytest.mark.parametrize("bare", NOMADS.split(" "))
def test_every_signal_of_nomad_is_known(bare: str) -> None:
    name = f"SIG{bare}"
    expected = 0 if bare == "NULL" else signal.Signals[name]
    for written in (name, name.lower(), bare, bare.lower(), bare.capitalize()):
        assert signum_of(written) == expected


@pytest.mark.parametrize(
    ("name", "signum"),
    [
        ("15", signal.SIGTERM),
        ("015", signal.SIGTERM),
        ("SIGCHLD", signal.SIGCHLD),
        ("SIGSTKFLT", signal.SIGSTKFLT),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("rtmin+0", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("sigrtmax-1", signal.SIGRTMAX - 1),
        ("RTMIN+30", signal.SIGRTMAX),
        ("37", 37),
        ("64", signal.SIGRTMAX),
        ("0", 0),
    ],
)
def test_numbers_and_real_time_signals_are_known(name: str, signum: int) -> None:
    assert signum_of(name) == signum


def test_a_known_number_comes_with_its_name() -> None:
    assert signum_of("15") is signal.SIGTERM
    assert signum_of("cld") is signal.SIGCHLD


@pytest.mark.parametrize(
    "name",
    [
        *("", "SIG", "SIGFOO", "SIGSIGTERM", " SIGTERM", "SIGTERM\n", "-9", "+9", "9.0"),
        *("32", "33", "65", "999", "1000", "9" * 5000, "٣", "RTMIN+31", "RTMAX-31", "RTMIN-1"),
        *("RTMIN+", "RTMIN+ 1", "SIG_DFL", "SIGTERM,SIGINT", "__class__"),
    ],
)
def test_an_unknown_name_is_an_error_that_says_what_would_be_accepted(name: str) -> None:
    with pytest.raises(UnknownSignalError) as caught:
        signum_of(name)
    assert f'unknown signal "{name}"' in str(caught.value)
    assert " TERM, " in str(caught.value)
    assert caught.value.name == name


@settings(database=None)
@given(st.text(max_size=12))
def test_any_text_gives_a_valid_signal_or_its_own_error(text: str) -> None:
    try:
        signum = signum_of(text)
    except UnknownSignalError:
        return
    assert signum in {0, *signal.valid_signals()}


@pytest.mark.parametrize("signum", sorted({0, *signal.valid_signals()}))
def test_every_signal_has_a_name_that_is_read_back(signum: int) -> None:
    assert signum_of(name_of_signal(signum)) == signum
