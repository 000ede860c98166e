"""Standing back: a process, and the session that it leads."""

import subprocess
import sys
from pathlib import Path

import pytest

STAND_BACK = """
import os
from little_monster.platform.priority import give_way
give_way({nice})
print(os.getpriority(os.PRIO_PROCESS, 0))
print(open("/proc/self/autogroup").read() if os.path.exists("/proc/self/autogroup") else "")
"""


def _stand_back(nice: int, *, new_session: bool) -> list[str]:
    command = [sys.executable, "-c", STAND_BACK.format(nice=nice)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=new_session)
    return run.stdout.splitlines()


def test_a_process_stands_back() -> None:
    assert _stand_back(7, new_session=False)[0] == "7"


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel has no sessions' priorities"
)
def test_so_does_the_session_that_it_leads_and_no_other() -> None:
    assert _stand_back(7, new_session=True)[1].endswith("nice 7")
    assert _stand_back(7, new_session=False)[1] == Path("/proc/self/autogroup").read_text().strip()
