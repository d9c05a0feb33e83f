"""Nothing that a test starts outlives pytest, not even a pytest that is killed.

Context managers stop servers when a test ends in any way that Python notices. For the others (a
worker of pytest-xdist that is killed, ``kill -9``) a small process reads from a pipe what was
started; the end of the pipe is the end of pytest, and what is then still there is killed and removed.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys

_SCRIPT = """
import os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
alive, folders = set(), set()
for line in sys.stdin:
    verb, value = line.rstrip("\\n").split(" ", 1)
    if verb == "started":
        alive.add(int(value))
    elif verb == "ended":
        alive.discard(int(value))
    elif verb == "made":
        folders.add(value)
    elif verb == "removed":
        folders.discard(value)
for pid in alive:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""

_reapers: dict[int, subprocess.Popen[str]] = {}  # by the process that it watches: forks need their own


def tell(verb: str, value: object) -> None:
    """Tell the reaper: a process ``started`` or ``ended``, a folder was ``made`` or ``removed``."""
    reaper = _reapers.get(os.getpid())
    if reaper is None:
        reaper = _reapers[os.getpid()] = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            bufsize=1,
        )
        atexit.register(_dismiss, reaper, os.getpid())
    assert reaper.stdin is not None
    reaper.stdin.write(f"{verb} {value}\n")
    reaper.stdin.flush()


def _dismiss(reaper: subprocess.Popen[str], pid: int) -> None:
    if os.getpid() == pid:
        reaper.communicate()
