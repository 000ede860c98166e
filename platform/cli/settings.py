"""`little-monster settings`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from rich.padding import Padding
from rich.text import Text

from little_monster.platform.cli.terminal import output
from little_monster.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class SettingHelp:
    """One setting: the variable it is read from, its default as text, what it means."""

    name: str
    default: str
    help: str


def settings() -> None:
    """Print every setting with its default and meaning."""
    output.print(
        "Set them in the environment, in `.env`, or in the YAML file that LM_CONFIG names "
        "(`database: {pool_size: 20}`); the first of these wins.\n"
    )
    for setting in describe_settings():
        line = Text(setting.name, style="bold").append(f" = {setting.default}", style="cyan")
        output.print(line, soft_wrap=True)
        output.print(Padding(setting.help, (0, 0, 0, 4)), markup=False)


def describe_settings() -> list[SettingHelp]:
    """Return all settings, in the order of `platform/settings.py`."""
    return list(_describe("LM_", Settings))


def _describe(prefix: str, group: type[BaseModel]) -> Iterator[SettingHelp]:
    for name, field in group.model_fields.items():
        variable = prefix + name.upper()
        if isinstance(field.default, BaseModel):
            yield from _describe(f"{variable}__", type(field.default))
        else:
            yield SettingHelp(variable, _default(field.default), " ".join((field.description or "").split()))


def _default(value: Any) -> str:
    return "(empty)" if value is None or value == [] else str(value)
