"""The password that page and API ask for, where whoever serves them has set one."""

from __future__ import annotations

import base64
import math
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.errors import DetectorError
from deepfake_detector.ui.clients import network_of

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN = "/gradio_api/startup-events"  # which Gradio itself asks for before it says that the page is up; it tells nothing
_ASK = "Expected the password of this page, by HTTP Basic and under any name: curl -u :PASSWORD …"
_COOKIE = "deepfake_detector_known"
_AT_ONCE, _EACH = 10, 2  # wrong guesses that are looked at without a pause, and seconds for each one after them
_COUNTS = 256


def read(file: str) -> str:
    """The password that is the file's only line; raises DetectorError."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()  # Windows' editors may begin it with a mark of its encoding
    except (OSError, UnicodeError) as error:
        raise DetectorError(f"--password-file should name a file with a password in it; {file} can't be read ({error}).") from error
    if len(lines) != 1 or not lines[0]:
        raise DetectorError(f"--password-file should name a file with a password on its only line; {file} has none, or more lines.")
    return lines[0]


class Locked:
    """Passes on only what comes with the password. It stands before all else that is served: a new way in can't be left open.

    Guessing is slowed down. Who has given the password is then known by a cookie, which is the same for all, and does not wait for what
    others guess: behind a proxy all may have one address.
    """

    def __init__(self, app: ASGIApp, password: str):
        self._app, self._password = app, password.encode()
        self._known, self._guesses = secrets.token_urlsafe(), _Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import HTTPConnection

        asked = HTTPConnection(scope)
        known = secrets.compare_digest(asked.cookies.get(_COOKIE, "").encode(), self._known.encode())
        if scope["path"] == _OPEN:
            await self._app(scope, receive, send)
        elif refusal := self._refusal(asked, known):
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send if known else self._with_cookie(send))

    def _refusal(self, asked: HTTPConnection, known: bool) -> Response | None:
        from starlette.responses import JSONResponse

        given, network = _password_in(asked.headers.get("authorization", "")), network_of(asked.scope)
        if given is not None:
            if not known and (pause := self._guesses.pause(network)):
                words = f"Too many wrong passwords came from your address or its network. Try again in {pause} s."
                return JSONResponse({"error": words}, 429, {"Retry-After": str(pause)})
            if secrets.compare_digest(given, self._password):
                return None
            self._guesses.was_wrong(network)
        return JSONResponse({"error": _ASK}, 401, {"WWW-Authenticate": 'Basic realm="Deepfake detector", charset="UTF-8"'})

    def _with_cookie(self, send: Send) -> Send:
        from starlette.datastructures import MutableHeaders

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Set-Cookie", f"{_COOKIE}={self._known}; Path=/; HttpOnly; SameSite=Lax")
            await send(message)

        return send_more


class _Guesses:
    """How long each network has to wait for its next guess: some wrong ones are let pass at once, and then one every few seconds.

    A right one waits as well, or it could be told among many at a time. Networks share counts by chance, so that memory stays bounded.
    """

    def __init__(self):
        self._forgotten_at = [0.0] * _COUNTS  # when no wrong guess would count any more

    def pause(self, network: str) -> int:
        """Seconds; 0 where the next is looked at."""
        left = self._forgotten_at[hash(network) % _COUNTS] - time.monotonic()
        return max(0, math.ceil(left - (_AT_ONCE - 1) * _EACH))

    def was_wrong(self, network: str) -> None:
        count = hash(network) % _COUNTS
        self._forgotten_at[count] = max(self._forgotten_at[count], time.monotonic()) + _EACH


def _password_in(authorization: str) -> bytes | None:
    kind, _, given = authorization.partition(" ")
    try:
        _, _, password = base64.b64decode(given, validate=True).partition(b":")
    except ValueError:
        return None
    return password if kind.lower() == "basic" else None
