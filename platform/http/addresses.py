"""Where a request comes from: the address that a trusted proxy names, else the other end of the
connection."""

from ipaddress import ip_address, ip_network

from fastapi import Request
from starlette.types import Scope

_PEER = "little_monster.peer"
# What one customer of a provider has to choose addresses from.
_IPV6_BITS = 64


def set_peer(scope: Scope) -> None:
    """Keep the other end of the connection, before a proxy's word takes its place."""
    scope[_PEER] = scope.get("client")


def client_address(request: Request) -> str:
    """Return the address of the client."""
    return request.client.host if request.client else "unknown"


def client_network(request: Request) -> str:
    """Return what is limited as one: an address of IPv4, or the /64 of one of IPv6."""
    address = client_address(request)
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((parsed, _IPV6_BITS), strict=False))


def is_shared(request: Request) -> bool:
    """Say whether many clients may stand behind the address: it is the connection's own and not of the public
    internet, as that of a proxy on this machine or in its network is; or there is none."""
    if request.client is None:
        return True
    if request.scope["client"] != request.scope[_PEER]:
        return False
    try:
        return not ip_address(client_address(request).partition("%")[0]).is_global
    except ValueError:
        return False
