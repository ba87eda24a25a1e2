"""Whose file is judged next, so that one client with many keeps no other waiting, let alone out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Crowded(Exception):
    """There is no place to wait any more; why, in words."""


class Turns:
    """So many at once, and so many more may wait: of each client that waits one, and then again of each.

    Where no more may wait, the last of the client with the most gives way to one with fewer. Behind a proxy all may be one client.
    """

    def __init__(self, at_once: int, waiting: int):
        self._free, self._most = at_once, waiting
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by client, whose turn it is first

    def check(self, client: str) -> None:
        """Raises Crowded where one more of this client's could not even wait."""
        if self._free or sum(map(len, self._waiting.values())) < self._most:
            return
        if max(map(len, self._waiting.values()), default=0) <= len(self._waiting.get(client, ())) + 1:
            raise Crowded("Too many files are waiting to be judged. Ask again in a minute.")

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """What it encloses is done when it is this client's turn; raises Crowded in place of it where it never will be."""
        self.check(client)
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, client: str) -> None:
        if sum(map(len, self._waiting.values())) >= self._most:
            last = max(self._waiting.values(), key=len).pop()
            last.set_exception(Crowded("Too many files are waiting to be judged, most of them yours. Ask again in a minute."))
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await asyncio.wait([turn])
        except asyncio.CancelledError:  # who asked has left
            if not turn.done():
                self._remove(client, turn)
            elif not turn.exception():
                self._pass_on()
            raise
        turn.result()

    def _remove(self, client: str, turn: asyncio.Future[None]) -> None:
        self._waiting[client].remove(turn)
        if not self._waiting[client]:
            del self._waiting[client]

    def _pass_on(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        client = next(iter(self._waiting))
        turns = self._waiting.pop(client)
        turns.popleft().set_result(None)
        if turns:
            self._waiting[client] = turns  # behind the others
