"""The environment of processes that touch what strangers made: none of our secrets is in it."""

import os
import sys
from typing import Final

_KEPT: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH")


def clean_environment(*also: str) -> dict[str, str]:
    """Return the few variables of ours that such a process may know, those named in `also` among them, and
    what lets it find modules as this process does, but not in the folder that it is started in."""
    kept = {name: os.environ[name] for name in (*_KEPT, *also) if name in os.environ}
    path = os.pathsep.join(one for one in sys.path if one)
    return {**kept, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
