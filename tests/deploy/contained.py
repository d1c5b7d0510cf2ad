"""Runs a command in the file system of an image as a container would, without a daemon. As root, in namespaces of its own:

    unshare --mount --net python contained.py ROOT CONFIGURATION USER FOLDER NAME=VALUE… -- COMMAND…

The file system is read-only but for /tmp. CONFIGURATION is mounted over /etc/router (empty: the image's own). The command has no
capability, gains none, and replaces this process: a signal reaches it directly. Standard library alone.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from typing import NoReturn

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPABILITIES = 64
"""More numbers of capabilities than there are: dropping one that does not exist fails, and changes nothing."""


def mount(*words: str) -> None:
    """Call `mount` with these words, in this process's mount namespace."""
    subprocess.run(["mount", *words], check=True)


def loopback() -> None:
    """Bring up the loopback interface of the new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        request = struct.pack("16sH14x", b"lo", 0)
        flags: int = struct.unpack("16sH14x", fcntl.ioctl(line, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(line, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def mounted(root: str, configuration: str) -> None:
    """Mount /tmp, /proc, /dev and the configuration into the image's file system, and make the rest read-only."""
    mount("--bind", root, root)
    mount("-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tmpfs", f"{root}/tmp")  # noqa: S108 - in the image
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("--bind", "/dev", f"{root}/dev")
    if configuration:
        mount("--bind", configuration, f"{root}/etc/router")
        mount("-o", "remount,bind,ro", f"{root}/etc/router")
    mount("-o", "remount,bind,ro", root)


def become(user: str, environment: dict[str, str], command: list[str]) -> NoReturn:
    """Drop all capabilities, change to the user, and replace this process by the command."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    number, _, group = user.partition(":")
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(number))
    os.environ["PATH"] = environment["PATH"]  # where the command is looked for
    os.execvpe(command[0], command, environment)  # noqa: S606


def main(words: list[str]) -> NoReturn:
    """Run the command that these words of the command line describe."""
    end = words.index("--")
    root, configuration, user, folder, *variables = words[:end]
    loopback()
    mounted(root, configuration)
    os.chroot(root)
    os.chdir(folder)
    become(user, dict(one.split("=", 1) for one in variables), words[end + 1 :])


if __name__ == "__main__":
    main(sys.argv[1:])
