"""Tokens that somebody else issues: Supabase, or any issuer of OpenID Connect that the settings name.

Of a token that is not checked yet only two words count: `iss` says which issuer's keys are tried, and `kid`
which of them. The algorithm is the key's own; keys and addresses in the token are never looked at.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from email_validator import EmailNotValidError, validate_email

from little_monster.platform.issuer_keys import FetchedKeys, IssuerKeys, SharedSecret
from little_monster.platform.security import MAX_KNOWN_TOKENS, Principal, invalid_token
from little_monster.platform.settings import IssuerSettings

MAX_TOKEN_CHARS = 16 * 1024
# OpenID Connect Core 1.0, section 2.
MAX_SUBJECT_CHARS = 255
MAX_EMAIL_CHARS = 254
MAX_NAME_CHARS = 100
KNOWN_S = 30
"""Seconds for which it is remembered whose a token is. Shorter than the shortest life of an access token, for
which an account that changes is marked."""

_REQUIRED = ["iss", "aud", "sub", "iat", "exp"]
# Whatever a token may hold that is no token of the issuer.
_WRONG = (
    jwt.PyJWTError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    OSError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class ForeignClaims:
    """What a good token says. `email` is in its normal form, lower-case; `email_verified` says that its user
    reads it, as far as the issuer is to be believed."""

    issuer: IssuerSettings
    subject: str
    email: str | None
    email_verified: bool
    name: str | None
    issued_at: datetime
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Issuer:
    settings: IssuerSettings
    keys: IssuerKeys


class ForeignTokens:
    """Reads the tokens of the issuers of the settings."""

    def __init__(self, issuers: Sequence[IssuerSettings]) -> None:
        self._issuers = {one.issuer: _Issuer(one, _keys_of(one)) for one in issuers}
        self._known: dict[str, tuple[Principal, float]] = {}

    @property
    def accepted(self) -> bool:
        """Whether there are any issuers."""
        return bool(self._issuers)

    async def read(self, token: str) -> ForeignClaims:
        """Return what a good token says.

        Raises:
            Unauthenticated: it is expired, forged, or of an issuer that the settings do not name; the message
                is the one for every token.
            Unavailable: the issuer's keys are needed and it does not answer.
        """
        header, issuer = self._named_by(token)
        key = await issuer.keys.find(header.get("kid"))
        if key is None or key.algorithm not in issuer.settings.algorithms:
            raise invalid_token()
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=issuer.settings.issuer,
                audience=issuer.settings.audience,
                leeway=issuer.settings.leeway_s,
                options={"require": _REQUIRED},
            )
            return _claims(issuer.settings, claims)
        except _WRONG:
            raise invalid_token() from None

    def known(self, token: str) -> Principal | None:
        """Return whose a token was a moment ago."""
        principal, until = self._known.get(token, (None, 0.0))
        return principal if until > time.time() else None

    def remember(self, token: str, claims: ForeignClaims, principal: Principal) -> None:
        """Remember whose a token is, for a moment."""
        if len(self._known) >= MAX_KNOWN_TOKENS:
            self._known.clear()
        self._known[token] = principal, min(claims.expires_at, time.time() + KNOWN_S)

    def _named_by(self, token: str) -> tuple[dict[str, Any], _Issuer]:
        """Return the header, and the issuer that the token says it is of."""
        try:
            if len(token) > MAX_TOKEN_CHARS:
                raise ValueError("too long")
            found = jwt.decode_complete(token, options={"verify_signature": False})
            header, issuer = found["header"], self._issuers[found["payload"]["iss"]]
            # A forgery that shows as one costs no fetch.
            if header["alg"] not in issuer.settings.algorithms:
                raise ValueError("not one of its tokens")
        except _WRONG:
            raise invalid_token() from None
        return header, issuer


def _keys_of(issuer: IssuerSettings) -> IssuerKeys:
    if issuer.secret is not None:
        return SharedSecret(issuer.secret.get_secret_value())
    return FetchedKeys(issuer)


def _claims(issuer: IssuerSettings, claims: dict[str, Any]) -> ForeignClaims:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS or not subject.isprintable():
        raise ValueError("no subject")
    email = _email(claims.get("email"))
    verified = email is not None and (issuer.trust_email or claims.get("email_verified") is True)
    return ForeignClaims(
        issuer=issuer,
        subject=subject,
        email=email,
        email_verified=verified,
        name=_name(claims.get("name")),
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        expires_at=int(claims["exp"]),
    )


def _email(given: object) -> str | None:
    """Return an address as registering would take it; None when there is none to be taken."""
    if not isinstance(given, str) or len(given) > MAX_EMAIL_CHARS:
        return None
    try:
        return validate_email(given, check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None


def _name(given: object) -> str | None:
    """Return a name that can be shown; None when there is none."""
    if not isinstance(given, str):
        return None
    return "".join(filter(str.isprintable, given))[:MAX_NAME_CHARS].strip() or None
