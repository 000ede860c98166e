"""An embedded index whose process is killed while it writes keeps what it said it had written."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

from little_monster.db.vectors.edge import EdgeIndex
from little_monster.db.vectors.index import Query, SparseVector
from tests.fixtures.index_writer import DIMENSION, point

KILLS = int(os.environ.get("LM_TEST_INDEX_KILLS", "3"))


def _written_until_killed(folder: Path, owner: object, first: int, seconds: float) -> int:
    """Return how many points were acknowledged by a process that lived for a time after its first batch."""
    command = [sys.executable, "-m", "tests.fixtures.index_writer", str(folder), str(owner), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        lines = [last, *child.stdout.read().splitlines(keepends=True)]
    assert child.returncode == -signal.SIGKILL
    return int([line for line in lines if line.endswith("\n")][-1])


async def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    owner, chance, written = uuid4(), random.Random(5), 0
    for _ in range(KILLS):
        written = _written_until_killed(tmp_path, owner, written, chance.uniform(0.05, 0.6))
        index = EdgeIndex(tmp_path, "passages", DIMENSION)
        # The batch that was being written may be there as well, whole or not.
        assert await index.count(owner) >= written
        for number in (0, written // 2, written - 1):
            expected = point(owner, number)
            [hit] = await index.search(owner, Query(sparse=SparseVector((number,), (1.0,))), limit=1)
            assert (hit.id, hit.payload) == (expected.id, {"page": number})
            assert expected.id in {
                hit.id for hit in await index.search(owner, Query(expected.vector), limit=written + 100)
            }
        await index.close()
    assert written > 20 * KILLS
