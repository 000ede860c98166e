"""What a stack consists of: which parts are embedded, which are the operator's own."""

import secrets
from dataclasses import dataclass

from little_monster.platform.embedded.environment import child_environment, settings_environment
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.postgres import Postgres
from little_monster.platform.embedded.process import MARKER
from little_monster.platform.embedded.ray import Ray
from little_monster.platform.embedded.valkey import Valkey
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import Settings


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts. `postgres` and `valkey` are None where the settings name the operator's own."""

    settings: Settings
    data: DataFolder
    identity: str
    ray: Ray
    postgres: Postgres | None
    valkey: Valkey | None

    @classmethod
    def of(cls, settings: Settings) -> "Stack":
        """Resolve the settings; makes the data folder and missing secrets.

        Raises:
            ConfigurationError: `environment` is `production` and a service or the secret is not given.
        """
        _check_environment(settings)
        data = DataFolder.at(settings.data_dir)
        data.prepare()
        return cls(
            settings,
            data,
            secrets.token_hex(8),
            Ray(data, settings.runtime),
            None if settings.database.url else Postgres(data),
            None if settings.redis.url else Valkey(data),
        )

    def service_environment(self) -> dict[str, str]:
        """Return the environment of PostgreSQL, Valkey and the model's conversion: no setting, no secret."""
        return child_environment({MARKER: self.identity})

    def environment(self) -> dict[str, str]:
        """Return the environment of Ray and its replicas: all settings, resolved, and Ray's own variables."""
        return child_environment(
            {**self.ray.environment(), **self.resolved_settings(), MARKER: self.identity}
        )

    def resolved_settings(self) -> dict[str, str]:
        """Return the settings as variables, with the embedded parts where nothing else is given."""
        resolved = settings_environment(self.settings)
        resolved["LM_DATA_DIR"] = str(self.data.root)
        resolved.setdefault("LM_STORAGE__URL", self.data.files.as_uri())
        resolved.setdefault("LM_AUTH__SECRET", self.data.secret("auth"))
        if self.postgres is not None:
            resolved["LM_DATABASE__URL"] = self.postgres.app_url
        if self.valkey is not None:
            resolved["LM_REDIS__URL"] = self.valkey.url
        return resolved


def _check_environment(settings: Settings) -> None:
    if settings.environment != "production":
        return
    given = {
        "LM_DATABASE__URL": settings.database.url,
        "LM_REDIS__URL": settings.redis.url,
        "LM_STORAGE__URL": settings.storage.url,
        "LM_AUTH__SECRET": settings.auth.secret,
        "LM_MAIL__SMTP_URL": settings.mail.smtp_url,
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise ConfigurationError(f"{missing[0]}: must be set where LM_ENVIRONMENT is production")
