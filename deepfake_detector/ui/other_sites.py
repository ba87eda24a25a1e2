"""What a page of another site makes a visitor's browser ask: nothing is done for it, and nothing told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

_READING = ("GET", "HEAD", "OPTIONS")
_USUAL = {"http": 80, "https": 443}  # ports


class Shielded:
    """Refuses what other sites' pages would have done, and lets them read nothing: also not a page that this machine alone can reach.

    To be put before Gradio's own middleware, which lets each site read all, with the password that the browser knows, unless the page is
    asked for as localhost. Links to the page, and frames around it, go on working, and so do programs, which name no site. A site whose own
    name leads here looks like the page itself: browsers give it no password, and nothing else keeps it out.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        headers = Headers(scope=scope)
        if not _from_another_site(headers):
            await self._app(scope, receive, send)
        elif scope.get("method") in _READING:  # without its origin, for which Gradio would tell the browser that it may read the answer
            await self._app(scope | {"headers": [one for one in scope["headers"] if one[0] != b"origin"]}, receive, send)
        else:
            received = f"received one from {headers.get('origin', 'another site')}"
            words = f"Expected a request from this page itself, or from a program; {received}. Ask from your own server instead."
            await JSONResponse({"error": words}, 403)(scope, receive, send)


def _from_another_site(headers: Headers) -> bool:
    """By what browsers say of it, or by the addresses where they say nothing, as over plain http: a proxy may change the page's own."""
    if said := headers.get("sec-fetch-site"):
        return said not in ("same-origin", "none")
    if not (origin := headers.get("origin")):
        return False
    scheme, _, site = origin.partition("://")  # empty for "null", which browsers send for pages that they trust with nothing
    # Proxies may name the port that browsers leave out, or leave out the one that browsers name.
    spelt = (site, f"{site}:{_USUAL.get(scheme)}", re.sub(r":\d+$", "", site))
    return not site or not {headers.get("host"), headers.get("x-forwarded-host", "").partition(",")[0].strip()}.intersection(spelt)
