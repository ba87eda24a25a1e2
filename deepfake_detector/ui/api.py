"""REST: one file in, its verdict as JSON out, on the page's own server."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from deepfake_detector import video
from deepfake_detector.embed import read_file
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.files import spelt_out
from deepfake_detector.images import MAX_FILE_BYTES
from deepfake_detector.panel import Panel
from deepfake_detector.types import Progress, Verdict
from deepfake_detector.ui.clients import network_of
from deepfake_detector.ui.tabs import clip
from deepfake_detector.ui.turns import Crowded, Turns
from deepfake_detector.ui.uploads import place
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    from starlette.datastructures import FormData, QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import Message, Receive

log = logging.getLogger(__name__)

PATH = "/api/judge"
AT_ONCE, WAITING = 2, 30  # files that are judged, and that may wait for it
SENDING = 64  # files that may be on their way here
_PATIENCE = 30  # seconds in which the next bytes of a file should come
_SLOWEST = 2**16  # bytes a second that should come in all; the largest clip then takes an hour at most
_FORM_BYTES = 2**16  # of a request beside its file
_ASK = f"Send it as the field 'file' of a form: curl -F file=@picture.jpg ADDRESS{PATH}"


class _Refused(Exception):
    """A request that gets this status and these words."""

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status = status


class _Upload:
    """A file on its way here: since when, how much of it has come, and what ends it."""

    def __init__(self):
        from anyio import CancelScope

        self.began, self.came, self.scope = time.monotonic(), 0, CancelScope()

    def rate(self) -> float:
        """Bytes a second."""
        return self.came / max(time.monotonic() - self.began, 0.001)


class _Uploads:
    """So many may be on their way at once; where one more comes, the slowest of them makes room for it.

    Whoever would keep others out has to send faster than they do. Who sends what is not asked: behind a proxy all have one address.
    """

    def __init__(self, most: int):
        self._most = most
        self._under_way: list[_Upload] = []  # the oldest first, which goes first where several have sent nothing

    @contextmanager
    def place(self) -> Iterator[_Upload]:
        """Raises _Refused in place of what it encloses once another has taken the place."""
        if len(self._under_way) >= self._most:
            slowest = min(self._under_way, key=_Upload.rate)
            self._under_way.remove(slowest)
            slowest.scope.cancel()
        upload = _Upload()
        self._under_way.append(upload)
        try:
            with upload.scope:
                yield upload
        finally:
            if upload in self._under_way:
                self._under_way.remove(upload)
        if upload.scope.cancelled_caught:
            raise _Refused(408, "Too many files are being sent, and this came the slowest. Send it again in a minute, or a smaller copy.")


@dataclass(frozen=True)
class _Wanted:
    """What is asked for beside a verdict: a picture's parts, or certain frames of a clip."""

    parts: bool
    sampling: video.Sampling | None


def routes(detector: Warming) -> list[Route]:
    """What answers `POST /api/judge`: 200 with what `predict --json` prints of a file, or another status with `error` in words.

    With `?parts=1` a picture's answer also has its `parts` as the page draws them, each with its box and `p_fake`, or where the model
    `looked`, boxes with rows of shares. With `?frames=N` so many frames of a clip are judged.
    Once the client has left, it is judged no further.

    405 another method, 408 a file that comes too slowly, or the slowest of too many, 413 a request that is too large, 415 and 422 no file
    or one that can't be judged, or a parameter that is not known or given twice, 503 a server without a model, or with too much to do.
    """
    from anyio import CapacityLimiter, to_thread
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    limiter = CapacityLimiter(AT_ONCE)
    sending = _Uploads(SENDING)
    judging = Turns(AT_ONCE, WAITING)  # of files that are here: one that comes slowly keeps none out

    async def judge(request: Request) -> Response:
        client = network_of(request.scope)
        try:
            wanted = _wanted(request.query_params)
            judging.check(client)  # before a file is sent for nothing
            with sending.place() as upload:
                form = await _received(request, upload)
            try:
                file, name = _file_in(form)
                _check(wanted, name)
                with _until_left(request):
                    async with judging.turn(client):
                        return JSONResponse(await to_thread.run_sync(_answer, detector, file, name, wanted, limiter=limiter))
            finally:
                await form.close()
        except _Refused as refused:
            # What is left of a file that came too slowly is not waited for either.
            return JSONResponse({"error": str(refused)}, refused.status, {"Connection": "close"} if refused.status == 408 else None)
        except Crowded as crowded:
            return JSONResponse({"error": str(crowded)}, 503, {"Retry-After": "60"})  # as it says in words
        except ClientDisconnect:  # before all was sent
            pass
        return Response(status_code=400)  # it left, and nobody reads this

    async def ask_for_a_file(request: Request) -> Response:
        return JSONResponse({"error": f"Expected POST with a file; received {request.method}. {_ASK}"}, 405, {"Allow": "POST"})

    others = ["GET", "OPTIONS", "PUT", "PATCH", "DELETE"]
    places = (PATH, f"{PATH}/")  # who adds a slash would be sent on, which curl by itself doesn't follow: it would print nothing
    return [route for at in places for route in (Route(at, judge, methods=["POST"]), Route(at, ask_for_a_file, methods=others))]


@contextmanager
def _until_left(request: Request) -> Iterator[None]:
    """Cancel what it encloses once the client has left, of whose request all has come."""
    from anyio import CancelScope

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    with CancelScope() as scope:
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


async def _received(request: Request, upload: _Upload) -> FormData:
    """The uploaded form, to be closed by whoever asked. Raises _Refused or ClientDisconnect."""
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise _Refused(415, f"Expected a form with a file; received {f'the content type {kind!r}' if kind else 'no content type'}. {_ASK}")
    most = MAX_FILE_BYTES + _FORM_BYTES
    if int(request.headers.get("content-length") or 0) > most:
        raise _too_large()
    try:
        return await Request(request.scope, _in_time(request.receive, upload, most)).form(max_files=1, max_fields=1)
    except HTTPException as error:  # a form that is damaged, or has more files than one
        raise _Refused(422, f"The form can't be read ({error.detail}). {_ASK}") from error
    except UnicodeError as error:  # it names a charset that texts are never in
        raise _Refused(422, f"The form can't be read ({error}). {_ASK}") from error


def _in_time(receive: Receive, upload: _Upload, most: int) -> Receive:
    """The same messages, as long as they come in time and are no more than so many bytes; raises _Refused otherwise."""
    from anyio import fail_after

    async def receive_next() -> Message:
        left = upload.began + _PATIENCE + upload.came / _SLOWEST - time.monotonic()
        try:
            with fail_after(min(_PATIENCE, max(left, 0))):
                message = await receive()
        except TimeoutError as error:
            raise _Refused(408, "The file comes too slowly. Send it again, or a smaller copy, over a faster connection.") from error
        upload.came += len(message.get("body", b""))
        if upload.came > most:  # a request need not say how long it is
            raise _too_large()
        return message

    return receive_next


def _too_large() -> _Refused:
    return _Refused(413, f"Too large: a file may have at most {MAX_FILE_BYTES // 2**20} MiB.")


def _file_in(form: FormData) -> tuple[BinaryIO, str]:
    """The uploaded file and its name; raises _Refused."""
    from starlette.datastructures import UploadFile

    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        received = "text in it" if upload is not None else ", ".join(map(repr, form)) or "no field"  # as from curl without the @
        raise _Refused(422, f"Expected a file in the field 'file'; received {received}. {_ASK}")
    if beside := ", ".join(repr(name) for name in form if name != "file"):  # to pass over frames would be to judge others
        raise _Refused(422, f"Expected the field 'file' alone; received also {beside}. Ask for more in the address, as by {PATH}?frames=48")
    return upload.file, spelt_out(Path(upload.filename or "").name)


def _wanted(parameters: QueryParams) -> _Wanted:
    """Raises _Refused for anything else that is asked for."""
    if unknown := [name for name in parameters if name not in ("parts", "frames")]:
        names = ", ".join(map(repr, unknown))
        known = "parts, 1 for each part of a picture by itself, and frames, how many of a clip to judge"
        raise _Refused(422, f"There is no parameter {names}; there are {known}.")
    for name in parameters:
        if len(values := parameters.getlist(name)) > 1:
            raise _Refused(422, f"{name} should be given once; received {' and '.join(map(repr, values))}.")
    parts, frames = parameters.get("parts"), parameters.get("frames")
    if parts not in (None, "0", "1"):
        raise _Refused(422, f"parts should be 1, or 0 for none; received {parts!r}.")
    if frames not in (None, *map(str, range(1, clip.MOST_FRAMES + 1))):
        raise _Refused(422, f"frames should be a whole number from 1 to {clip.MOST_FRAMES}; received {frames!r}.")
    return _Wanted(parts == "1", video.Sampling(int(frames)) if frames else None)


def _check(wanted: _Wanted, name: str) -> None:
    """Raises _Refused for what a file of this name has not."""
    if wanted.parts and video.is_video(name):
        raise _Refused(422, f"parts are of pictures, and {name!r} is a clip by its ending. Leave parts out: its answer has each frame's.")
    if wanted.sampling and not video.is_video(name):
        raise _Refused(422, f"frames are of clips, and {name!r} is none by its ending. Leave frames out, or give a clip its ending.")


def _answer(detector: Warming, uploaded: BinaryIO, name: str, wanted: _Wanted) -> dict[str, Any]:
    """What the file's verdict is, as JSON has it; raises _Refused."""
    try:
        panel = detector.get()
    except Exception as error:
        log.error("no verdict for a request: %s", error)
        raise _Refused(503, "The detector could not start; the page and the server's log say why.") from error
    ending = Path(name).suffix if video.is_video(name) else ""
    with tempfile.NamedTemporaryFile(suffix=ending, dir=place()) as file:
        shutil.copyfileobj(uploaded, file)
        file.flush()
        try:
            if ending:
                clip.check(file.name)
            *_, verdict = _unless_cancelled(panel.judging(file.name, wanted.sampling))
            answer = {"file": name} | verdict.to_json()
            return answer | _parts(panel, read_file(file.name)) if wanted.parts else answer
        except UnusablePicture as error:
            raise _Refused(422, str(error)) from error
        except DetectorError as error:
            raise _Refused(503, str(error)) from error


def _unless_cancelled(judging: Generator[Progress | Verdict]) -> Iterator[Progress | Verdict]:
    """The same for as long as this thread's answer is waited for; raises what cancels the task that waited."""
    from anyio.from_thread import check_cancelled

    with closing(judging):  # or what cancels would hold on to it, and to the file and its decoder
        for so_far in judging:
            check_cancelled()
            yield so_far


def _parts(panel: Panel, content: bytes) -> dict[str, Any]:
    """What the page draws below a picture's verdict; nothing for a model that has neither."""
    if parts := panel.parts(content):
        return {"parts": [asdict(part) for part in parts]}
    looked = panel.looked_at(content)
    return {"looked": [{"box": one.box, "shares": one.shares.tolist()} for one in looked]} if looked else {}
