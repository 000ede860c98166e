"""Encryption of the secrets of second factors."""

import pytest
from pydantic import SecretStr

from little_monster.platform.encryption import Cipher
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import AuthSettings

OLD, NEW = "a" * 32, "b" * 32


def made(secret: str, *previous: str) -> Cipher:
    keys = [SecretStr(one) for one in previous]
    return Cipher(AuthSettings(secret=SecretStr(secret), previous_secrets=keys))


def test_there_and_back() -> None:
    encrypted = made(OLD).encrypt("JBSWY3DPEHPK3PXP")
    assert b"JBSWY3DPEHPK3PXP" not in encrypted
    assert made(OLD).decrypt(encrypted) == "JBSWY3DPEHPK3PXP"
    assert made(OLD).encrypt("JBSWY3DPEHPK3PXP") != encrypted


def test_a_previous_secret_decrypts_and_the_present_one_encrypts() -> None:
    rotated = made(NEW, OLD)
    assert rotated.decrypt(made(OLD).encrypt("text")) == "text"
    assert made(NEW).decrypt(rotated.encrypt("text")) == "text"


def test_without_the_right_secret_the_operator_is_told() -> None:
    with pytest.raises(ConfigurationError, match="LM_AUTH__PREVIOUS_SECRETS"):
        made(NEW).decrypt(made(OLD).encrypt("text"))


def test_what_was_changed_is_refused() -> None:
    encrypted = bytearray(made(OLD).encrypt("text"))
    encrypted[-5] ^= 1
    with pytest.raises(ConfigurationError):
        made(OLD).decrypt(bytes(encrypted))
