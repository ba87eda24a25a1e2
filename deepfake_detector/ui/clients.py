"""Whose request it is, as far as a server can tell."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope


def network_of(scope: Scope) -> str:
    """What one client has for itself: its address, or of IPv6 the network it can take any of. Behind a proxy all may have the same."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(host)
    except ValueError:  # what a proxy says may be no address
        return host
    if address.version == 6 and not address.ipv4_mapped:
        return str(ip_network((int(address), 64), strict=False))
    return host
