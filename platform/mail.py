"""E-mail: sent through the operator's SMTP server, or on a laptop written into a folder."""

import asyncio
import secrets
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import structlog
from pydantic import SecretStr

from little_monster.platform.embedded.layout import DataFolder, write_private
from little_monster.platform.errors import ConfigurationError
from little_monster.platform.settings import Settings

TIMEOUT_S = 20.0
_PORTS = {"smtp": 587, "smtps": 465}

_log = structlog.get_logger(__name__)


class Mailer(Protocol):
    """Takes a message to where it is read."""

    async def send(self, message: EmailMessage) -> None:
        """Send the message.

        Raises:
            OSError: it could not be sent.
        """
        ...


class SmtpMailer:
    """Speaks SMTP, in a thread. Certificates are verified.

    Args:
        url: `smtp://user:password@host:port`, which needs STARTTLS unless `?starttls=no` says otherwise, or
            `smtps://`.

    Raises:
        ConfigurationError: the URL is none of these.
    """

    def __init__(self, url: SecretStr) -> None:
        parts = urlsplit(url.get_secret_value())
        try:
            self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        except (LookupError, ValueError):
            self._host = ""
        if not self._host:
            raise ConfigurationError("LM_MAIL__SMTP_URL: smtp://host:port or smtps://host:port is needed")
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._tls_first = parts.scheme == "smtps"
        self._starttls = not self._tls_first and parse_qs(parts.query).get("starttls") != ["no"]

    async def send(self, message: EmailMessage) -> None:
        """See `Mailer.send`."""
        await asyncio.to_thread(self._send, message)

    def _send(self, message: EmailMessage) -> None:
        with self._connect() as connection:
            if self._starttls:
                connection.starttls(context=ssl.create_default_context())
            if self._user:
                connection.login(self._user, self._password)
            connection.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        if self._tls_first:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT_S, context=context)
        return smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_S)


class OutboxMailer:
    """Writes each message as an `.eml` file (RFC 5322) that only its owner may read, named by the time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """See `Mailer.send`."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{secrets.token_hex(3)}.eml"
        await asyncio.to_thread(write_private, self._folder / name, message.as_string())


def open_mailer(settings: Settings) -> Mailer:
    """Return what sends mail by these settings; nothing connects yet.

    Raises:
        ConfigurationError: the URL is wrong, or missing in production, where nobody looks into a folder.
    """
    if settings.mail.smtp_url is not None:
        return SmtpMailer(settings.mail.smtp_url)
    if settings.environment == "production":
        raise ConfigurationError("LM_MAIL__SMTP_URL: must be set where LM_ENVIRONMENT is production")
    return OutboxMailer(DataFolder.at(settings.data_dir).outbox)


async def deliver(mailer: Mailer, message: EmailMessage) -> None:
    """Send a message that nobody waits for: when that fails the log says so, and who wants the message asks
    for another."""
    try:
        await mailer.send(message)
    except OSError as error:
        _log.error("mail_not_sent", error=type(error).__name__, reason=str(error))
