"""What every verb that calls the API begins with: the settings, the API's address, the account."""

from dataclasses import dataclass

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.credentials import FileKeeper, Keeper
from little_monster.platform.embedded.instance import read_instance
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class CliSession:
    """The settings, and where the API is."""

    settings: Settings
    url: str

    @property
    def data(self) -> DataFolder:
        """The data folder of the stack on this machine."""
        return DataFolder.at(self.settings.data_dir)

    def client(self, keeper: Keeper | None = None) -> ApiClient:
        """Return a client for the user's own account, or for that of another keeper."""
        return ApiClient(self.url, keeper or FileKeeper(self.url))


def open_session() -> CliSession:
    """Read the settings and find the API: `LM_API__URL`, else the stack that runs on the data folder.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = load_settings()
    return CliSession(settings, _api_url(settings))


def _api_url(settings: Settings) -> str:
    if "url" not in settings.api.model_fields_set:
        instance = read_instance(DataFolder.at(settings.data_dir))
        if instance is not None and "api" in instance.urls:
            return instance.urls["api"]
    return settings.api.url.rstrip("/")
