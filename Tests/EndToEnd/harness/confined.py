"""Runs a program under the system call filter that a systemd unit asks for, without systemd.

    python -m harness.confined UNIT PROGRAM ARGUMENTS…

Of the unit it reads SystemCallFilter, RestrictAddressFamilies and MemoryDenyWriteExecute, and
does with libseccomp what systemd does. What is not allowed fails with EPERM.
"""

import ctypes
import functools
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

# Source: <seccomp.h>, <sys/mman.h>.
_ALLOW, _MASKED_EQUAL, _EQUAL = 0x7FFF0000, 7, 4
_PROTECTION_WRITE, _PROTECTION_EXECUTE = 2, 4
_PROTECTION_ARGUMENT = {"mmap": 2, "mprotect": 2, "pkey_mprotect": 2}


def _fails_with(number: int) -> int:
    return 0x00050000 | number


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64), ("second", ctypes.c_uint64),
    ]  # fmt: skip


def _masked(argument: int, mask: int, value: int) -> _Comparison:
    return _Comparison(argument, _MASKED_EQUAL, mask, value)


def _settings(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.M)


@functools.cache
def _groups() -> dict[str, list[str]]:
    """systemd's groups: calls, and names of other groups."""
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = {}
    group: list[str] = []
    for line in done.stdout.splitlines():
        word = line.strip()
        if line.startswith("@"):
            group = found.setdefault(word, [])
        elif word and not word.startswith("#"):
            group.append(word)
    return found


def _calls(words: list[str]) -> set[str]:
    """Groups among the words are what is in them."""
    found: set[str] = set()
    for word in words:
        found |= _calls(_groups()[word]) if word.startswith("@") else {word}
    return found


def allowed(unit: Path) -> set[str]:
    """The system calls that a unit lets its program make: each line adds, or with ~ takes away."""
    # What systemd itself always lets through.
    found = _calls(["@default"])
    for line in _settings(unit, "SystemCallFilter"):
        words = line.removeprefix("~").split()
        found = found - _calls(words) if line.startswith("~") else found | _calls(words)
    return found


def _rules(unit: Path) -> list[tuple[str, list[_Comparison]]]:
    """What is allowed: a call, and what must be true of its arguments."""
    families = [getattr(socket, name) for name in _settings(unit, "RestrictAddressFamilies")[0].split()]
    is_strict = _settings(unit, "MemoryDenyWriteExecute") == ["yes"]
    rules: list[tuple[str, list[_Comparison]]] = []
    for call in sorted(allowed(unit)):
        if call == "socket":
            rules += [(call, [_Comparison(0, _EQUAL, family, 0)]) for family in families]
        elif call in _PROTECTION_ARGUMENT and is_strict:
            argument = _PROTECTION_ARGUMENT[call]
            rules.append((call, [_masked(argument, _PROTECTION_EXECUTE, 0)]))
            if call == "mmap":
                both = _PROTECTION_EXECUTE | _PROTECTION_WRITE
                rules.append((call, [_masked(argument, both, _PROTECTION_EXECUTE)]))
        else:
            rules.append((call, []))
    return rules


def confine(unit: Path) -> None:
    """This process, and all that it becomes, under the unit's filter. It cannot be undone."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)
    ]  # fmt: skip
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(_fails_with(1))
    for call, conditions in _rules(unit):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            continue  # of other processors, or newer than the library
        array = (_Comparison * max(1, len(conditions)))(*conditions)
        added = library.seccomp_rule_add_array(context, _ALLOW, number, len(conditions), array)
        assert added == 0, f"{call}: {os.strerror(-added)}"
    loaded = library.seccomp_load(context)
    assert loaded == 0, os.strerror(-loaded)


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
