"""What children find in their environment, and where the parts of a stack keep their things."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from little_monster.platform.embedded import layout
from little_monster.platform.embedded.environment import child_environment, settings_environment
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.ports import Ports
from little_monster.platform.embedded.ray import Ray, read_profile
from little_monster.platform.embedded.stack import Stack
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import RuntimeSettings, Settings, load_settings


@pytest.fixture(autouse=True)
def _short_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short folders go to a folder of this test, which must be short as well."""
    with TemporaryDirectory(dir="/tmp", prefix="s") as folder:
        monkeypatch.setattr(layout, "SHORT_ROOT", Path(folder))
        yield


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LM_DATA_DIR", "LM_CONFIG", "LM_DATABASE__URL", "LM_REDIS__URL"):
        monkeypatch.delenv(name, raising=False)


def test_settings_that_differ_come_back_as_they_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "LM_DATABASE__URL": "postgresql://u:p@host/name",
        "LM_DATABASE__POOL_SIZE": "3",
        "LM_API__CORS_ORIGINS": '["https://a.example"]',
        "LM_AUTH__PREVIOUS_SECRETS": '["first", "second"]',
        "LM_CHAT__TEMPERATURE": "0.5",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert settings_environment(Settings()) == given


def test_lists_come_back_as_they_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = {"issuer": "https://old.supabase.co/auth/v1", "audience": "a", "algorithms": ["HS256"]}
    given = {
        "LM_AUTH__ISSUERS": json.dumps([{**issuer, "secret": "s" * 32, "trust_email": True}]),
        "LM_API__TRUSTED_PROXIES": '["10.0.0.0/8", "::1/128"]',
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    found = settings_environment(settings)
    assert found.keys() == given.keys()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    secret = settings.auth.issuers[0].secret
    assert secret is not None
    assert secret.get_secret_value() == "s" * 32


def test_the_owner_of_the_tables_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_DATABASE__OWNER_URL", "postgresql://owner:p@host/name")
    assert settings_environment(Settings()) == {}
    assert "LM_DATABASE__OWNER_URL" not in child_environment({})


def test_children_inherit_everything_but_settings_and_another_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LM_CONFIG", "relative.yaml")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    environment = child_environment({"LM_DATA_DIR": "/data"})
    assert environment["LM_DATA_DIR"] == "/data"
    assert environment["SOMETHING_ELSE"] == "kept"
    assert not {"LM_CONFIG", "RAY_ADDRESS"} & environment.keys()


def test_a_stack_resolves_all_its_parts(tmp_path: Path) -> None:
    stack = Stack.of(Settings(data_dir=tmp_path / "var"))
    environment = stack.environment()
    assert environment["LM_DATABASE__URL"].startswith("postgresql://little_monster_app:")
    assert environment["LM_REDIS__URL"].startswith("unix://")
    assert environment["LM_STORAGE__URL"] == (tmp_path / "var" / "files").as_uri()
    assert environment["LM_DATA_DIR"] == str(tmp_path / "var")
    assert len(environment["LM_AUTH__SECRET"]) >= 32
    assert environment["LM_INSTANCE"] == stack.identity
    assert "LM_AUTH__SECRET" not in stack.service_environment()


def test_services_of_ones_own_replace_the_embedded_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LM_DATABASE__URL", "postgresql://u:p@host/name")
    monkeypatch.setenv("LM_REDIS__URL", "redis://host")
    stack = Stack.of(Settings(data_dir=tmp_path))
    assert (stack.postgres, stack.valkey) == (None, None)
    assert stack.environment()["LM_DATABASE__URL"] == "postgresql://u:p@host/name"


def test_production_refuses_embedded_services(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^LM_DATABASE__URL: "):
        Stack.of(Settings(environment="production", data_dir=tmp_path))


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    data = DataFolder.at(tmp_path)
    data.prepare()
    first = data.secret("auth")
    assert first == data.secret("auth") != data.secret("other")
    assert (data.secrets / "auth").stat().st_mode & 0o777 == 0o600
    assert data.secrets.stat().st_mode & 0o777 == 0o700


def test_a_long_path_gets_a_short_folder_for_sockets(tmp_path: Path) -> None:
    data = DataFolder.at(tmp_path / ("long" * 30))
    data.prepare()
    short = data.short("run/valkey")
    assert len(str(short)) <= 80
    assert short == data.short("run/valkey") != DataFolder.at(tmp_path / ("other" * 30)).short("run/valkey")


def test_an_offset_moves_every_port() -> None:
    usual, moved = Ports.of(RuntimeSettings()), Ports.of(RuntimeSettings(port_offset=1000))
    assert {name: port + 1000 for name, port in usual.named().items()} == moved.named()
    assert int(moved.serve_environment()["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"]) == 31_000


def test_rays_environment_is_the_profile_with_ports_sockets_and_a_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = DataFolder.at(tmp_path)
    data.prepare()
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    environment = Ray(data, RuntimeSettings()).environment()
    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "0", "what the operator sets wins"
    assert environment.keys() >= read_profile().keys()
    assert environment["RAY_AUTH_MODE"] == "token"
    assert len(Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text()) == 64
    # Ray puts the node's id, 56 digits, before the name of each socket.
    longer = len(str(layout.SHORT_ROOT)) - len("/tmp")
    assert len(environment["RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"]) - longer + 57 <= 97


def test_every_variable_of_the_profile_has_a_reason() -> None:
    lines = (Path(__file__).parents[2] / "configs/environments/ray.env").read_text().splitlines()
    blocks = "\n".join(lines).split("\n\n", 1)[1].splitlines()
    assert blocks[0].startswith("#")
    assert all("=" in line or line.startswith("#") for line in blocks)
