"""What Linux can forbid a process, by system calls that Python has no functions for.

Each function says whether the kernel did it: an old kernel or a strict container may refuse. Without them a
file still has its process, limits and clean environment.
"""

import ctypes
import os
import platform
import site
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_PATH = 1, 1
# Rights on files by version of Landlock: 13 in the first, then moving, truncating and device commands.
_FILE_RIGHTS = {1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1, 4: 2**15 - 1}
_ALL_FILE_RIGHTS, _ALL_NET_RIGHTS, _ALL_SCOPES = 2**16 - 1, 2**2 - 1, 2**2 - 1
_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
_ON_A_FILE = _EXECUTE | _READ_FILE
_READING = _ON_A_FILE | _READ_FOLDER

_SECCOMP_FILTER = 2
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM = 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Where `struct seccomp_data` holds the number of the call and the architecture.
_CALL_AT, _ARCHITECTURE_AT = 0, 4
_FIRST_OF_X32 = 0x40000000

# By machine: its number for the audit, and the calls that are refused. They are, in this order: socket,
# socketpair, execve, execveat, fork, vfork, clone, clone3, kill, ptrace, process_vm_readv, process_vm_writev,
# pidfd_getfd, io_uring_setup, unshare, setns, mount, bpf, keyctl, perf_event_open, userfaultfd.
_REFUSED = {
    "x86_64": (
        0xC000003E,
        (41, 53, 59, 322, 57, 58, 56, 435, 62, 101, 310, 311, 438, 425, 272, 308, 165, 321, 250, 298, 323),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 199, 221, 281, 220, 435, 129, 117, 270, 271, 438, 425, 97, 268, 40, 280, 219, 241, 282),
    ),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_libc.syscall.restype = ctypes.c_long


def die_with_parent() -> bool:
    """Have this process killed when the one that forked it ends."""
    return _prctl(_PR_SET_PDEATHSIG, 9)


def forbid_new_privileges() -> bool:
    """Let no program that this process or a child of it runs gain rights."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def leave_network() -> bool:
    """Move this process and its children to a network of their own, which reaches nothing."""
    return _unshare(_CLONE_NEWNET) or _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def library_folders() -> Iterator[str]:
    """Yield where libraries read what they load late: data, fonts, and modules."""
    yield from (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    yield from (path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    yield from site.getsitepackages()
    yield from ("/usr/lib", "/lib", "/lib64", "/usr/share", os.devnull, "/dev/urandom", "/proc/self/statm")


def confine_files(readable: Iterable[str], own: str | None = None) -> bool:
    """Let this process read below `readable`, do what it likes in the folder `own`, and open no other file,
    no TCP port and, on a newer kernel, signal no process outside (Landlock).
    """
    version = _libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return False
    on_files = _FILE_RIGHTS.get(version, _ALL_FILE_RIGHTS)
    rights = struct.pack("=3Q", on_files, _ALL_NET_RIGHTS, _ALL_SCOPES)
    # An older kernel takes a shorter structure.
    rules = _libc.syscall(_LANDLOCK_CREATE, rights, 8 if version < 4 else 16 if version < 6 else 24, 0)
    if rules < 0:
        return False
    for path in readable:
        _allow(rules, path, _READING)
    if own is not None:
        _allow(rules, own, on_files)
    done = bool(_libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0)
    os.close(rules)
    return done


def refuse_calls() -> bool:
    """Refuse this process, for good, to open sockets, start processes or threads, and look into others
    (seccomp).
    """
    if platform.machine() not in _REFUSED:
        return False
    program = ctypes.create_string_buffer(_program(*_REFUSED[platform.machine()]))
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", (len(program) - 1) // 8, ctypes.addressof(program))
    )
    return _prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.addressof(header))


def _program(architecture: int, calls: tuple[int, ...]) -> bytes:
    """Return the filter, in the instructions of Berkeley Packet Filters: code, jumps, operand."""
    checks = [(_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _CALL_AT),
        (_AT_LEAST, len(calls) + 1, 0, _FIRST_OF_X32),
        *checks,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | _EPERM),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):  # noqa: PTH112
        rights &= _ON_A_FILE
    _libc.syscall(_LANDLOCK_ADD, rules, _LANDLOCK_PATH, struct.pack("=Qi", rights, handle), 0)
    os.close(handle)


def _unshare(flags: int) -> bool:
    return int(_libc.unshare(flags)) == 0


def _prctl(option: int, value: int, address: int = 0) -> bool:
    return int(_libc.prctl(option, value, address, 0, 0)) == 0
