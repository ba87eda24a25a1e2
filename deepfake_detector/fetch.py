"""Pictures from URLs: many at once, few from one host, no URL asked twice, nothing believed that a server says of itself.

Servers in the wild stall, lie, loop, and serve pages as pictures. Each request has a time-out for each step and one for all of it;
bytes are counted as they come; what is a picture is what Pillow decodes. The requests run on one background thread's event loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import tempfile
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpcore
import httpx

from deepfake_detector import __version__
from deepfake_detector.addresses import GuardedBackend, checked_url
from deepfake_detector.errors import AddressRefused, PictureTooLarge, PictureTooSmall, StoreError, UnusablePicture, kind_and_words
from deepfake_detector.images import open_picture
from deepfake_detector.picture_store import BY_SERVER, Fetched, PictureStore

USER_AGENT = f"deepfake-detector/{__version__}"
MAX_REDIRECTS = 5
TRIES = 3  # in one run, for trouble that may pass within seconds
SILENT_AFTER = 10  # requests in a row that a host did not answer, or with 429, whereupon it is left alone for a while
LEFT_ALONE = 300  # seconds
_HOSTS_KEPT = 20_000
_REFUSED = {401, 403, 451}
_NOT_FOUND = {404, 410}
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Limits:
    """Times are in seconds, and `total` is for one request from its name look-up to its last byte."""

    per_host: int = 2  # requests at once
    connect: float = 5.0
    read: float = 10.0  # between two pieces of an answer
    total: float = 30.0
    backoff: float = 1.0  # before the second try, twice that before the third, each times 0.5 to 1.5 at random
    retry_after: float = 30.0  # a host that asks for a longer pause than this is left alone for as long as it asks
    max_bytes: int = 20 * 2**20
    whole: float | None = None  # for one URL, with all redirects and tries; None for as long as these take


WAITED_FOR = Limits(connect=5.0, read=5.0, total=15.0, backoff=0.5, retry_after=2.0, whole=20.0)  # by somebody, who would rather hear no


@dataclass
class _Host:
    slots: asyncio.Semaphore
    users: int = 0
    free_at: float = 0.0  # when the next request may start, as it asked for, on the clock time.monotonic
    closed_until: float = 0.0
    unanswered: int = 0

    def heard(self, answered: bool) -> None:
        self.unanswered = 0 if answered else self.unanswered + 1
        if self.unanswered >= SILENT_AFTER:
            self.closed_until = time.monotonic() + LEFT_ALONE


class _NoPicture(Exception):
    """An outcome other than ok. It may be tried again in this run after at least `wait` seconds; None for not at all."""

    def __init__(self, outcome: str, detail: str, wait: float | None = None, asked: bool = True):
        super().__init__(detail)
        self.outcome, self.detail, self.wait, self.asked = outcome, detail, wait, asked


class Fetcher:
    """Fetches pictures into `store` and out of it; use from any thread; close, or use as a context manager.

    `concurrency` requests run at once; each may hold `limits.max_bytes` in memory. `allow_private` also asks addresses that only
    this machine or its network can reach: for tests and mirrors of one's own, never for URLs from strangers. Proxies named in
    the environment are not used: the address to connect to would then be theirs to choose. Outcomes are recorded as the
    limits of their run had it; after changing those, `store.forget` what should be asked again.
    """

    def __init__(self, store: str | Path, *, allow_private: bool = False, concurrency: int = 32, limits: Limits | None = None):
        self.store = PictureStore(store)
        self._limits = limits or Limits()
        self._look_ahead = 32 * concurrency  # so that one slow URL does not hold up the others while the order is kept
        self._slots = asyncio.Semaphore(concurrency)
        self._hosts: OrderedDict[bytes, _Host] = OrderedDict()  # the least recently used first
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),  # heeds $SSL_CERT_FILE, the authorities that the user trusts
            max_connections=concurrency,
            keepalive_expiry=5,
            network_backend=GuardedBackend(allow_private),
        )
        self._decoders = ThreadPoolExecutor(os.cpu_count(), "decode")
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(4 * concurrency, "resolve"))  # a look-up given up on keeps its thread
        self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
        self._thread.start()

    def fetch(self, urls: Iterable[str]) -> Iterator[Fetched]:
        """What became of each URL, in the order given; `urls` may be endless and is read only some way ahead.

        What is recorded is not asked again (see PictureStore). Raises StoreError when the store can't be used.
        """
        ahead: deque[tuple[str, Future | None]] = deque()
        asked: dict[str, Future] = {}  # of those ahead
        try:
            for url in urls:
                if url not in asked and self.store.due(url):
                    asked[url] = self._submit(url)
                ahead.append((url, asked.get(url)))
                first = ahead[0][1]
                if len(ahead) >= self._look_ahead or first is None or first.done():
                    yield self._settled(*ahead.popleft(), asked)
            while ahead:
                yield self._settled(*ahead.popleft(), asked)
        finally:
            for future in asked.values():
                future.cancel()

    def _submit(self, url: str) -> Future:
        return asyncio.run_coroutine_threadsafe(self._obtain(url), self._loop)

    def _settled(self, url: str, future: Future | None, asked: dict[str, Future]) -> Fetched:
        if future:
            future.result()
            asked.pop(url, None)
        found = self.store.recall(url)
        if found is None:  # a file of the store was damaged
            self._submit(url).result()
            found = self.store.recall(url)
        if found is None:
            raise StoreError(f"The picture of {url} vanished from {self.store.folder} twice. Let nothing else change that folder.")
        return found

    async def _obtain(self, url: str) -> None:
        """Try until the URL is settled for this run, or its time is over, and record what became of it."""
        try:
            async with asyncio.timeout(self._limits.whole) as limit:
                await self._try(url)
        except TimeoutError:
            if not limit.expired():
                raise
            await self._in_thread(self.store.record, url, "timeout", f"not settled within {self._limits.whole:g} seconds")

    async def _try(self, url: str) -> None:
        tries = 0
        while True:
            tries += 1
            try:
                return await self._follow(url)
            except _NoPicture as failure:
                if failure.wait is None or tries == TRIES:
                    return await self._in_thread(self.store.record, url, failure.outcome, failure.detail, None, failure.asked)
                backoff = self._limits.backoff * 2 ** (tries - 1) * random.uniform(0.5, 1.5)
                await asyncio.sleep(max(failure.wait, backoff))

    async def _follow(self, url: str) -> None:
        """Ask, redirect after redirect, and record the picture; raises _NoPicture."""
        try:
            link = checked_url(url)
            for _ in range(MAX_REDIRECTS + 1):
                async with self._turn(link) as host:
                    answer = await self._ask(link, host)
                    if isinstance(answer, bytes):  # held until it is written, so that memory stays bounded
                        return await self._in_thread(self._keep, url, answer)
                link = checked_url(answer, link)
        except AddressRefused as error:
            raise _NoPicture("refused", str(error)) from error
        raise _NoPicture("error", f"more than {MAX_REDIRECTS} redirects")

    @asynccontextmanager
    async def _turn(self, link: httpx.URL) -> AsyncIterator[_Host]:
        """A turn at the link's host, then one of the slots for all; waiting for a busy host takes no slot."""
        host = self._hosts.setdefault(link.netloc, _Host(asyncio.Semaphore(self._limits.per_host)))
        self._hosts.move_to_end(link.netloc)
        host.users += 1
        while len(self._hosts) > _HOSTS_KEPT and not next(iter(self._hosts.values())).users:
            self._hosts.popitem(last=False)
        try:
            async with host.slots:
                await asyncio.sleep(host.free_at - time.monotonic())
                async with self._slots:
                    if time.monotonic() < host.closed_until:
                        raise _NoPicture("error", "not asked: its host answers nothing or wants a long pause", asked=False)
                    yield host
        finally:
            host.users -= 1

    async def _ask(self, link: httpx.URL, host: _Host) -> bytes | str:
        """One request: the bytes that came, or where a redirect points to."""
        target = httpcore.URL(scheme=link.raw_scheme, host=link.raw_host, port=link.port, target=link.raw_path)
        headers = [
            (b"Host", link.netloc),
            (b"User-Agent", USER_AGENT.encode()),
            (b"Accept", b"*/*"),  # asking for kinds of pictures, some servers convert the original
            (b"Accept-Encoding", b"identity"),  # pictures are compressed already, and what is never unpacked is no bomb
        ]
        limits = self._limits
        times = {"connect": limits.connect, "read": limits.read, "write": limits.read, "pool": None}
        try:
            async with (
                asyncio.timeout(limits.total),
                self._pool.stream("GET", target, headers=headers, extensions={"timeout": times}) as response,
            ):
                answer = await self._read(response, host)
            host.heard(answered=True)
            return answer
        except AddressRefused:
            raise
        except _NoPicture:
            host.heard(answered=response.status != 429)
            raise
        except (TimeoutError, httpcore.TimeoutException) as error:
            host.heard(answered=False)
            raise _NoPicture("timeout", f"no complete answer within {limits.total:g} s, or none for {limits.read:g} s") from error
        except Exception as error:  # what servers send makes a parser raise almost anything
            host.heard(answered=False)
            raise _NoPicture("error", kind_and_words(error), 0 if _may_pass(error) else None) from error

    async def _read(self, response: httpcore.Response, host: _Host) -> bytes | str:
        headers, status = httpx.Headers(response.headers), response.status
        if status in _REDIRECTS and "location" in headers:
            return headers["location"]
        if status in _NOT_FOUND:
            raise _NoPicture("not_found", f"status {status}")
        if status in _REFUSED:
            raise _NoPicture("refused", f"{BY_SERVER}{status}")
        if status == 429 or status >= 500:
            pause = _seconds(headers.get("retry-after", ""))
            if pause <= self._limits.retry_after:
                host.free_at = max(host.free_at, time.monotonic() + pause)
                raise _NoPicture("error", f"status {status}", pause)
            host.closed_until = time.monotonic() + pause
        if status != 200:
            raise _NoPicture("error", f"status {status}")
        too_large = _NoPicture("too_large", f"more than {self._limits.max_bytes:,} bytes")
        if int(headers.get("content-length", 0)) > self._limits.max_bytes:
            raise too_large
        content = bytearray()
        async for chunk in response.aiter_stream():
            content += chunk
            if len(content) > self._limits.max_bytes:
                raise too_large
        return bytes(content)

    def _keep(self, url: str, content: bytes) -> None:
        """Record the bytes as a picture, or why they are none."""
        try:
            open_picture(content)
        except PictureTooSmall as error:
            self.store.record(url, "too_small", str(error))
        except PictureTooLarge as error:
            self.store.record(url, "too_large", str(error))
        except UnusablePicture as error:
            self.store.record(url, "not_a_picture", str(error))
        else:
            self.store.record(url, "ok", content=content)

    async def _in_thread(self, work, *arguments) -> None:
        await self._loop.run_in_executor(self._decoders, work, *arguments)

    def close(self) -> None:
        """Break off what is running; what was recorded stays."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._break_off(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._decoders.shutdown()
        self._loop.close()
        self.store.close()

    async def _break_off(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.aclose()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fetched_now(urls: Iterable[str], folder: str | Path | None = None, allow_private: bool = False) -> Iterator[tuple[str, bytes | str]]:
    """Each URL with its picture's bytes, or with the reason why there are none, for somebody who waits: nothing is kept.

    `folder` is where the bytes lie meanwhile, None for the system's folder for temporary files.
    """
    with (
        tempfile.TemporaryDirectory(dir=folder) as store,
        Fetcher(store, allow_private=allow_private, concurrency=8, limits=WAITED_FOR) as fetcher,
    ):
        for found in fetcher.fetch(urls):
            yield found.url, found.content or _in_words(found)


def _in_words(found: Fetched) -> str:
    if found.outcome == "not_a_picture":
        return (
            "what this address gives is no picture. Give that of the picture itself (in a browser: right click, copy image address), "
            "or save it first, as a clip has to be"
        )
    return (
        f"no picture came from this address ({found.outcome.replace('_', ' ')}: {found.detail}). Save the picture first, and give its file"
    )


def _may_pass(error: Exception) -> bool:
    """Whether a failed connection is worth another try within seconds; a bad certificate or an unknown name is not."""
    cause = error.__context__  # the pool raises its errors "from None", which clears __cause__ alone
    if isinstance(cause, socket.gaierror):
        return cause.errno == socket.EAI_AGAIN
    return isinstance(error, (httpcore.NetworkError, httpcore.RemoteProtocolError)) and not isinstance(cause, ssl.SSLCertVerificationError)


def _seconds(retry_after: str) -> float:
    """The pause that a Retry-After header asks for, as seconds or as a date, at most a day; 0 if it can't be read."""
    try:
        pause = int(retry_after) if retry_after.isdecimal() else parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return float(min(max(pause, 0), 86_400))
