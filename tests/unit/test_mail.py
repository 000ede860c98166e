"""Mail: what an SMTP server gets, what the outbox keeps, and that a failure fails nothing else."""

import asyncio
import io
import json
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from pydantic import SecretStr

from little_monster.platform.errors import ConfigurationError
from little_monster.platform.logs import setup_logs
from little_monster.platform.mail import OutboxMailer, SmtpMailer, deliver, open_mailer
from little_monster.platform.services import letters
from little_monster.platform.settings import MailSettings, Settings, TelemetrySettings

SENDER = "Little Monster <monster@example.org>"


@dataclass
class SmtpServer:
    """Takes one connection after the other and remembers what it was told (RFC 5321)."""

    refuses: bool = False
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            command = line.decode().strip()
            self.commands.append(command)
            verb = command.split(" ")[0].upper()
            writer.write({"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(verb, self._answer(verb)))
            if verb == "DATA":
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 taken\r\n")
            if verb == "QUIT":
                break
        writer.close()

    def _answer(self, verb: str) -> bytes:
        if verb == "EHLO":
            return b"250-test\r\n250 AUTH PLAIN\r\n"
        if verb == "AUTH":
            return b"235 welcome\r\n"
        return b"550 no such mailbox\r\n" if self.refuses and verb == "RCPT" else b"250 fine\r\n"


@asynccontextmanager
async def listening(handler: SmtpServer) -> AsyncIterator[str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(), stream)
    yield stream
    setup_logs(TelemetrySettings())


def letter() -> EmailMessage:
    return letters.password_reset(SENDER, "ada@example.com", "the-code")


async def test_smtp_with_a_password() -> None:
    server = SmtpServer()
    async with listening(server) as address:
        await SmtpMailer(SecretStr(f"smtp://us%40er:p%2Fw@{address}?starttls=no")).send(letter())
    assert "AUTH PLAIN AHVzQGVyAHAvdw==" in server.commands
    assert "mail FROM:<monster@example.org>" in {command.split(" size")[0] for command in server.commands}
    assert "rcpt TO:<ada@example.com>" in server.commands
    (raw,) = server.messages
    message = message_from_bytes(raw, policy=policy.default)
    assert (message["Subject"], message["To"]) == ("Set a new password", "ada@example.com")
    assert message["Message-ID"].endswith("@example.org>")
    assert "    the-code" in message.get_content().splitlines()


async def test_without_starttls_nothing_is_sent_unless_allowed(log: io.StringIO) -> None:
    server = SmtpServer()
    async with listening(server) as address:
        await deliver(SmtpMailer(SecretStr(f"smtp://user:secret@{address}")), letter())
    assert server.messages == []
    assert not [command for command in server.commands if command.startswith("AUTH")]
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["error"]) == ("mail_not_sent", "SMTPNotSupportedError")


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_failure_is_logged_without_the_address(refuses: bool, log: io.StringIO) -> None:
    if refuses:
        async with listening(SmtpServer(refuses=True)) as address:
            await deliver(SmtpMailer(SecretStr(f"smtp://{address}?starttls=no")), letter())
    else:
        await deliver(SmtpMailer(SecretStr("smtp://127.0.0.1:1?starttls=no")), letter())
    text = log.getvalue()
    assert "mail_not_sent" in text
    assert "ada@example.com" not in text
    assert "the-code" not in text


@pytest.mark.parametrize(
    "url", ["http://host", "smtp://", "host:25", "smtp://host:port", "smtp://host:99999"]
)
def test_a_wrong_url_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LM_MAIL__SMTP_URL"):
        open_mailer(Settings(_env_file=None, mail=MailSettings(smtp_url=SecretStr(url))))


def test_production_needs_a_server() -> None:
    with pytest.raises(ConfigurationError, match="LM_MAIL__SMTP_URL"):
        open_mailer(Settings(_env_file=None, environment="production"))


async def test_the_outbox_keeps_messages_for_their_owner_only(tmp_path: Path) -> None:
    mailer = open_mailer(Settings(_env_file=None, data_dir=tmp_path))
    assert isinstance(mailer, OutboxMailer)
    await asyncio.gather(*(mailer.send(letter()) for _ in range(5)))
    paths = list((tmp_path / "outbox").glob("*.eml"))
    assert len(paths) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert stat.S_IMODE((tmp_path / "outbox").stat().st_mode) == 0o700
    message = message_from_bytes(paths[0].read_bytes(), policy=policy.default)
    assert "the-code" in message.get_content()


def test_a_header_cannot_be_broken() -> None:
    with pytest.raises(ValueError, match=r"newline|linefeed"):
        letters.verification(SENDER, "ada@example.com\nBcc: eve@example.com", "code")


@pytest.mark.parametrize(
    ("site", "begin"), [(None, "POST /api"), ("https://a.example/lm/", "POST https://a.example/lm/api")]
)
def test_letters_name_the_address_that_users_know(site: str | None, begin: str) -> None:
    for made in (
        letters.verification(SENDER, "ada@example.com", "code", site),
        letters.password_reset(SENDER, "ada@example.com", "code", site),
        letters.password_changed(SENDER, "ada@example.com", site),
    ):
        assert f"{begin}/v1/auth/" in made.get_content()
