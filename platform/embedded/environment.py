"""What the children of `little-monster up` find in their environment: every setting, under its own name."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from little_monster.platform.settings import Settings

OWNER_URL = "LM_DATABASE__OWNER_URL"
"""Only `up` and `migrate` may know the role that owns the tables."""

# What another stack, or a shell, may have set for itself.
_NOT_INHERITED = ("RAY_ADDRESS", "RAY_JOB_ID", "RAY_AUTH_TOKEN", "PYTHONSTARTUP")


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return the settings that differ from their defaults, as the variables they would be read from.

    A child needs no `.env`, no `LM_CONFIG` and not our working directory then.
    """
    found = dict(
        _flat("LM_", settings, {name: field.default for name, field in Settings.model_fields.items()})
    )
    found.pop(OWNER_URL, None)
    return found


def child_environment(resolved: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with its LM_* settings replaced by `resolved`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LM_") and name not in _NOT_INHERITED
    }
    return {**inherited, **resolved}


def _flat(prefix: str, group: BaseModel, defaults: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, usual in defaults.items():
        value, variable = getattr(group, name), prefix + name.upper()
        if isinstance(value, BaseModel):
            yield from _flat(f"{variable}__", value, dict(usual))
        elif value is not None and value != usual:
            yield variable, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list):
        return json.dumps(value, default=_plain)
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, BaseModel) else _text(value)
