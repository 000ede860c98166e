"""Where a request comes from: only as much of it as is kept beside log-ins and in the audit trail."""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

MAX_USER_AGENT_CHARS = 200

# Enough to tell one's own network from a strange one, and not one household from the next.
_PREFIX_BITS = {4: 24, 6: 48}


@dataclass(frozen=True, slots=True)
class Origin:
    """`user_agent` is what the client calls itself, `address_prefix` the network it calls from
    (`192.0.2.0/24`, `2001:db8:1::/48`); None where that is not known."""

    user_agent: str | None = None
    address_prefix: str | None = None

    @classmethod
    def of(cls, address: str | None, user_agent: str | None) -> "Origin":
        """Cut down what a request says."""
        return cls(_readable(user_agent or ""), _prefix(address or ""))


def _readable(user_agent: str) -> str | None:
    shown = "".join(character for character in user_agent if character.isprintable())
    return shown[:MAX_USER_AGENT_CHARS].strip() or None


def _prefix(address: str) -> str | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network((parsed, _PREFIX_BITS[parsed.version]), strict=False))
