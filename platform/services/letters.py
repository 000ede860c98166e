"""The messages that are sent to users, as plain text."""

from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

_VERIFY = """Somebody, hopefully you, uses this address for an account at Little Monster.

This code confirms that you read it. It is good once, for 24 hours:

    {code}

Send it to POST {site}/api/v1/auth/verify-email as {{"code": "..."}}.
If it was not you, do nothing.
"""

_RESET = """Somebody, hopefully you, asked for a new password for your account at Little Monster.

This code sets one. It is good once, for one hour:

    {code}

Send it to POST {site}/api/v1/auth/password/reset as {{"code": "...", "new_password": "..."}}.
If it was not you, do nothing: your password stays as it is.
"""

_CHANGED = """The password of your account at Little Monster was changed, and all other devices were logged
out.

If it was not you, ask for a new password at once: POST {site}/api/v1/auth/password/reset/request.
"""


def verification(sender: str, recipient: str, code: str, site: str | None = None) -> EmailMessage:
    """Return the message that carries a code which confirms an address; `site` is where the API is."""
    text = _VERIFY.format(code=code, site=_begin(site))
    return _letter(sender, recipient, "Confirm your e-mail address", text)


def password_reset(sender: str, recipient: str, code: str, site: str | None = None) -> EmailMessage:
    """Return the message that carries a code which sets a new password; `site` is where the API is."""
    text = _RESET.format(code=code, site=_begin(site))
    return _letter(sender, recipient, "Set a new password", text)


def password_changed(sender: str, recipient: str, site: str | None = None) -> EmailMessage:
    """Return the message that tells that the password has changed; `site` is where the API is."""
    return _letter(sender, recipient, "Your password was changed", _CHANGED.format(site=_begin(site)))


def _begin(site: str | None) -> str:
    return (site or "").rstrip("/")


def _letter(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2])
    # RFC 3834: no holiday notice is wanted in return.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message
