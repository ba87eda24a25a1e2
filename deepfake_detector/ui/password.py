"""The password that page and API ask for, where whoever serves them has set one."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.errors import DetectorError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN = "/gradio_api/startup-events"  # which Gradio itself asks for before it says that the page is up; it tells nothing
_ASK = "Expected the password of this page, by HTTP Basic and under any name: curl -u :PASSWORD …"


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
    """Passes on only what comes with the password. It stands before all else that is served: a new way in can't be left open."""

    def __init__(self, app: ASGIApp, password: str):
        self._app, self._password = app, password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        if scope["type"] == "lifespan" or scope["path"] == _OPEN or self._opens(Headers(scope=scope).get("authorization", "")):
            await self._app(scope, receive, send)
        else:
            asks = {"WWW-Authenticate": 'Basic realm="Deepfake detector", charset="UTF-8"'}
            await JSONResponse({"error": _ASK}, 401, asks)(scope, receive, send)

    def _opens(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        try:
            _, _, password = base64.b64decode(given, validate=True).partition(b":")
        except ValueError:
            return False
        return kind.lower() == "basic" and secrets.compare_digest(password, self._password)
