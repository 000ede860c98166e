"""Encryption of what must be kept and read again: the secrets of second factors."""

import base64
import hmac

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from little_monster.platform.access_keys import signing_secrets
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import AuthSettings


class Cipher:
    """Encrypts and authenticates (Fernet: AES-128-CBC and HMAC-SHA256) with keys that are derived from the
    secret and from the previous secrets: the first encrypts, any decrypts.

    Raises:
        ConfigurationError: as `signing_secrets`.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._fernet = MultiFernet([_derived(secret) for secret in signing_secrets(settings)])

    def encrypt(self, text: str) -> bytes:
        """Return `text`, encrypted with the present key."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, encrypted: bytes) -> str:
        """Return the text.

        Raises:
            ConfigurationError: none of the keys encrypted it.
        """
        try:
            return self._fernet.decrypt(encrypted).decode()
        except InvalidToken:
            raise ConfigurationError(
                "LM_AUTH__PREVIOUS_SECRETS: the secret that encrypted a second factor is missing"
            ) from None


def _derived(secret: bytes) -> Fernet:
    # One step of HKDF's expansion (RFC 5869): the secret is long and random already.
    return Fernet(
        base64.urlsafe_b64encode(hmac.digest(secret, b"encryption of second factors\x01", "sha256"))
    )
