"""Where the command line writes: answers to standard output, what went wrong to standard error."""

import shutil
import sys
from pathlib import Path

from rich.console import Console

from little_monster.platform.errors import LittleMonsterError, StartupError

output = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_error(error: LittleMonsterError) -> None:
    """Print one clear line, or for a failed stage three: what failed, why, what to do."""
    if isinstance(error, StartupError):
        errors.print(f"[bold red]✗ {error.stage} failed[/]")
        errors.print("  why ", error.reason, markup=False, soft_wrap=True)
        errors.print("  do  ", error.remedy, markup=False, soft_wrap=True)
        return
    errors.print("[bold red]✗[/] ", end="")
    errors.print(str(error), markup=False, soft_wrap=True)


def command_name() -> str:
    """Return how this program is called from here: its name, or its path where that is not on the PATH."""
    program = Path(sys.executable).with_name("little-monster")
    found = shutil.which("little-monster")
    if found and Path(found) == program:
        return "little-monster"
    folder = Path.cwd()
    return str(program.relative_to(folder)) if program.is_relative_to(folder) else str(program)
