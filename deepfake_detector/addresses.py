"""Which addresses may be asked for a picture: public ones only, and the address that was checked is the one connected to.

An address comes from strangers: from a data set of a million lines, or from whoever types into a web page. It must not make this
machine ask something that only this machine can reach (server-side request forgery). Two places see to it: `checked_url` for every
URL and every redirect, and `GuardedBackend` for every connection. The latter resolves the name itself and connects to what it
checked, so a name server that answers differently the second time gains nothing. TLS still verifies the certificate against the name.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpcore
import httpx

from deepfake_detector.errors import AddressRefused

PORTS = {80, 443, 8000, 8080, 8443}  # what serves pictures; others may be mail, databases and the like

# The special-purpose registries of IANA, written out since `is_global` differs between Python's patch releases.
_GLOBAL_IPV6 = ip_network("2000::/3")  # all else is loopback, mapped, NAT64, local, link-local, multicast or unassigned
_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, a cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's metadata on a public address
        "169.254.0.0/16",  # link-local, most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # documentation
    )
]
# A host that ends in a number is an IPv4 address, however it is spelt: https://url.spec.whatwg.org/#ends-in-a-number-checker
_ENDS_IN_A_NUMBER = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$", re.IGNORECASE)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anyone on the internet could ask the same address."""
    if address.version == 6 and address not in _GLOBAL_IPV6:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def checked_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """The URL, relative to `base` for a redirect; raises AddressRefused unless it is http(s)://host without a password."""
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused(f"not a URL ({error}); expected http://… or https://…") from error
    if url.scheme not in ("http", "https"):
        raise AddressRefused(f"expected http://… or https://…, but the scheme is {url.scheme!r}")
    if not url.raw_host:  # `host` would decode it, which fails for some
        raise AddressRefused("the URL names no host; expected http://host/…")
    if url.userinfo:
        raise AddressRefused("the URL holds a user name or password; remove what stands before the @")
    return url


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host name, as the system's resolver orders them; raises socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [place[0] for *_, place in found]


class GuardedBackend(httpcore.AnyIOBackend):
    """Makes the TCP connections of an httpcore pool, to public addresses on the usual ports only.

    `allow_private` lifts both limits, for tests and for mirrors in one's own network.
    """

    def __init__(self, allow_private: bool = False):
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers; raises AddressRefused before anything is sent to a forbidden one."""
        if port not in PORTS and not self._allow_private:
            raise AddressRefused(f"port {port} is not asked; expected one of {', '.join(map(str, sorted(PORTS)))}")
        async with asyncio.timeout(timeout):
            addresses = await self._addresses(host, port)
        unreachable: Exception | None = None
        for address in addresses:
            try:
                return await super().connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                unreachable = error
        raise unreachable or httpcore.ConnectError(f"{host} has no address")

    async def _addresses(self, host: str, port: int) -> list[IPv4Address | IPv6Address]:
        try:
            found = [ip_address(host)]
        except ValueError:
            if _ENDS_IN_A_NUMBER.search(host):
                raise AddressRefused(f"{host} is an odd spelling of an address; expected four decimal numbers or a name") from None
            try:
                found = [ip_address(address) for address in await resolve(host, port)]
            except OSError as error:
                raise httpcore.ConnectError(f"the name {host} can't be resolved ({error.strerror})") from error
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if found and not allowed:
            raise AddressRefused(f"{host} has no public address, so it is not asked")  # which one it has is no stranger's business
        return allowed
