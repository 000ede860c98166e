"""How far a process stands back behind others that want the processor."""

import os
import time
from pathlib import Path
from typing import Final

_GROUP: Final = Path("/proc/self/autogroup")
# Linux lets everybody but root change a group ten times a second, all together.
_TRIES, _PAUSE_S = 5, 0.12


def give_way(nice: int) -> None:
    """Stand back at least `nice` steps (0 to 19) behind an ordinary process, with all that this one starts.

    Where Linux schedules sessions before processes (sched(7), "The autogroup feature"), the number of a
    process counts within its session alone, so that the leader of a session lowers that too.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) < nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    if os.getsid(0) == os.getpid():
        _lower_session(nice)


def _lower_session(nice: int) -> None:
    for _ in range(_TRIES):
        try:
            _GROUP.write_text(str(nice))
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:
            # Another kernel, or a container that does not show it.
            return
        else:
            return
