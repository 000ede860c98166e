"""The keys of access tokens: what signs them, what reads them, and which algorithm each is for.

The algorithm follows from the key, never from a token: Ed25519 signs EdDSA, RSA RS256, P-256 ES256, and the
secret HS256. A key that is public is named by its thumbprint (RFC 7638), one that is not by a digest.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode
from pydantic import SecretStr

from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import MIN_SECRET_CHARS, AuthSettings

MIN_RSA_BITS = 2048

PublicKey: TypeAlias = ed25519.Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_PRIVATE, _PREVIOUS = "LM_AUTH__PRIVATE_KEY", "LM_AUTH__PREVIOUS_PUBLIC_KEYS"
_KINDS = f"an Ed25519, P-256 or RSA key (of at least {MIN_RSA_BITS} bits) in PEM is needed"
# What a thumbprint covers, by the type of the key.
_NAMING = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


@dataclass(frozen=True, slots=True)
class ReadingKey:
    """What checks the signature of tokens that name it. `jwk` is None for a key that nobody may see."""

    id: str
    algorithm: str
    key: Any
    jwk: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """`signing` signs new tokens, under the name of the first of `reading`."""

    signing: Any
    reading: tuple[ReadingKey, ...]


def access_keys(settings: AuthSettings) -> AccessKeys:
    """Return the keys of the settings: the private key's with those before it, else the secrets'. With a
    private key no token that a secret signed is read.

    Raises:
        ConfigurationError: a key cannot be used, or there is none.
    """
    if settings.private_key is None:
        secrets = signing_secrets(settings)
        return AccessKeys(secrets[0], tuple(_of_secret(secret) for secret in secrets))
    private = _load_private(settings.private_key)
    previous = [_load_public(pem) for pem in settings.previous_public_keys]
    reading = [
        _of_public(_PRIVATE, private.public_key()),
        *(_of_public(_PREVIOUS, key) for key in previous),
    ]
    return AccessKeys(private, tuple(reading))


def signing_secrets(settings: AuthSettings) -> list[bytes]:
    """Return the secret and, behind it, the previous ones.

    Raises:
        ConfigurationError: there is no secret, or one is shorter than 32 characters.
    """
    given = [("LM_AUTH__SECRET", settings.secret)]
    given += [("LM_AUTH__PREVIOUS_SECRETS", secret) for secret in settings.previous_secrets]
    for name, secret in given:
        if secret is None or len(secret.get_secret_value()) < MIN_SECRET_CHARS:
            raise ConfigurationError(f"{name}: at least {MIN_SECRET_CHARS} characters are needed")
    return [secret.get_secret_value().encode() for _, secret in given if secret is not None]


def algorithm_of(key: Any) -> str | None:
    """Return the one algorithm that a public key is for; None when it is too weak, or of another kind."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    return None


def _of_secret(secret: bytes) -> ReadingKey:
    return ReadingKey(hmac.digest(secret, b"key id", "sha256").hex()[:12], "HS256", secret)


def _of_public(setting: str, key: Any) -> ReadingKey:
    algorithm = algorithm_of(key)
    if algorithm is None:
        raise ConfigurationError(f"{setting}: {_KINDS}")
    jwk = _jwk(key)
    key_id = _thumbprint(jwk)
    return ReadingKey(key_id, algorithm, key, {**jwk, "use": "sig", "alg": algorithm, "kid": key_id})


def _jwk(key: PublicKey) -> dict[str, str]:
    """Return the members that make the key, and no others."""
    if isinstance(key, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        found = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: str(found[name]) for name in _NAMING[found["kty"]]}


def _thumbprint(jwk: dict[str, str]) -> str:
    named = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()
    return base64url_encode(hashlib.sha256(named).digest()).decode()


def _load_private(pem: SecretStr) -> Any:
    try:
        return serialization.load_pem_private_key(_bytes_of(pem.get_secret_value()), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Nothing of what was given: it may be the key.
        raise ConfigurationError(f"{_PRIVATE}: {_KINDS}") from None


def _load_public(pem: str) -> Any:
    try:
        return serialization.load_pem_public_key(_bytes_of(pem))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{_PREVIOUS}: {_KINDS}") from None


def _bytes_of(pem: str) -> bytes:
    # A variable of one line writes the ends of lines as \n.
    return pem.replace("\\n", "\n").encode()
