"""`little-monster down`."""

import psutil

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.embedded.instance import forget_instance, read_instance, stop_marked
from little_monster.platform.errors import StartupError

_GRACE_S = 90


def down() -> None:
    """Stop what `up` started, and nothing else."""
    data = open_session().data
    instance = read_instance(data)
    if instance is None:
        output.print(f"Nothing runs on {data.root}.")
        return
    supervisor = instance.supervisor()
    with output.status("stopping"):
        if supervisor is not None:
            _end(supervisor)
        left = stop_marked(instance.id)
    forget_instance(data)
    output.print("[green]✓[/] Stopped" + (f", and {left} processes that were left" if left else ""))


def _end(supervisor: psutil.Process) -> None:
    """Ask `up` to stop; it stops its parts in order."""
    supervisor.terminate()
    try:
        supervisor.wait(_GRACE_S)
    except psutil.TimeoutExpired:
        supervisor.kill()
    except psutil.AccessDenied as error:
        raise StartupError(
            "down", f"process {error.pid} belongs to another user", "run it as that user"
        ) from None
