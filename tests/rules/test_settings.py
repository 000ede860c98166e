"""Every setting is typed, documented and shown; a wrong one is one line."""

import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import Settings, load_settings


def _fields(model: type[BaseModel], prefix: str = "LM") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}_{name.upper()}"
        annotation = field.annotation
        yield path, field
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _fields(annotation, path + "_")


@pytest.mark.parametrize(("name", "field"), list(_fields(Settings)), ids=lambda value: str(value)[:60])
def test_each_setting_is_documented(name: str, field: FieldInfo) -> None:
    assert field.description, f"{name} has no docstring"
    assert field.description.rstrip().endswith("."), f"{name}: a sentence ends with a full stop"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LM_DATABASE__POOL_SIZE", "many"),
        ("LM_DATABASE__POOL_TIMEOUT_S", "0"),
        ("LM_DATABASE__STATEMENT_TIMEOUT_MS", "-1"),
        ("LM_DATABASE__REPLICA_MAX_LAG_S", "0"),
        ("LM_UPLOAD__MAX_BYTES", "-1"),
        ("LM_AUTH__ACCESS_TOKEN_MINUTES", "600"),
        ("LM_ENVIRONMENT", "moon"),
        ("LM_RUNTIME__HTTP_PORT", "80"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: ")
    assert "\n" not in str(caught.value)


def test_a_pooler_needs_a_way_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_DATABASE__TRANSACTION_POOLER", "true")
    with pytest.raises(ConfigurationError, match=r"^LM_DATABASE__DIRECT_URL: .*is needed"):
        load_settings()
    monkeypatch.setenv("LM_DATABASE__DIRECT_URL", "postgresql://host/name")
    assert load_settings().database.transaction_pooler


ORIGINS = [
    "https://app.example.com",
    "http://localhost:5173",
    "http://[::1]:80",
    "capacitor://localhost",
    "*",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_of_a_browser(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_API__CORS_ORIGINS", json.dumps([origin]))
    assert load_settings().api.cors_origins == [origin]


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.com/", "https://Example.com", "example.com", "https://*.example.com", "null", ""],
)
def test_an_origin_that_no_browser_sends(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_API__CORS_ORIGINS", json.dumps(["https://a.example", origin]))
    with pytest.raises(ConfigurationError, match=r"^LM_API__CORS_ORIGINS__1: .*origin"):
        load_settings()


def test_a_missing_configuration_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_CONFIG", "nowhere.yaml")
    with pytest.raises(ConfigurationError, match=r"LM_CONFIG.*nowhere\.yaml"):
        load_settings()
