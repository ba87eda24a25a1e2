"""Whose file is next, and who gives way: the client that has the most waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from deepfake_detector.ui.turns import Crowded, Turns


class Asked:
    """What several clients ask of the same turns: each takes until it is told to end."""

    def __init__(self, at_once: int, waiting: int):
        self.turns = Turns(at_once, waiting)
        self.begun, self.gave_way = [], []
        self._tasks, self._ends = {}, {}

    async def ask(self, *names: str) -> None:
        """Each name begins with its client's letter."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._do(name))
            await self.settle()

    async def _do(self, name: str) -> None:
        try:
            async with self.turns.turn(name[0]):
                self.begun.append(name)
                await self._ends[name].wait()
        except Crowded:
            self.gave_way.append(name)

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self.settle()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def refused(self, clients: Sequence[str]) -> list[str]:
        """Whom a place is refused before anything is sent."""
        return [client for client in clients if self._refuses(client)]

    def _refuses(self, client: str) -> bool:
        try:
            self.turns.check(client)
        except Crowded:
            return True
        return False


def test_each_client_has_its_turn():
    async def story() -> None:
        asked = Asked(2, 9)
        await asked.ask("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")
        assert asked.begun == ["a1", "a2"], "what is free is used"
        await asked.end("a1", "a2", "a3", "b1", "c1", "a4")
        assert asked.begun == ["a1", "a2", "a3", "b1", "c1", "a4", "b2", "a5"]
        await asked.end("b2", "a5")
        await asked.ask("d1", "d2", "d3")
        assert asked.begun[-2:] == ["d1", "d2"], "all are free again, and no more than that"

    asyncio.run(story())


def test_who_has_the_most_waiting_gives_way_to_who_has_fewer():
    async def story() -> None:
        asked = Asked(1, 4)
        await asked.ask("a1", "a2", "a3", "a4", "a5", "a6")
        assert asked.gave_way == ["a6"], "one client can't give way to itself"
        assert asked.refused("ab") == ["a"]
        await asked.ask("b1", "b2", "b3")
        assert asked.gave_way == ["a6", "a5", "a4", "b3"]
        assert asked.refused("abc") == ["a", "b"]
        await asked.ask("c1", "d1", "e1")
        assert asked.gave_way[4:] == ["a3", "b2", "e1"], "where each has one, none gives way"
        assert asked.refused("abcde") == list("abcde")
        await asked.end("a1", "a2", "b1", "c1", "d1")
        assert asked.begun == ["a1", "a2", "b1", "c1", "d1"]

    asyncio.run(story())


@pytest.mark.parametrize("leaving", [["a2"], ["a2", "b1"], ["a1"], ["a1", "a2"]])
def test_who_leaves_holds_no_place(leaving):
    async def story() -> None:
        asked = Asked(1, 2)
        await asked.ask("a1", "a2", "b1")
        await asked.leave(*leaving)
        stay = [name for name in ("a1", "a2", "b1") if name not in leaving]
        await asked.ask(*(f"d{number}" for number in range(3 - len(stay))))
        assert (asked.gave_way, asked.refused("d")) == ([], ["d"])
        await asked.end(*stay)
        assert "d0" in asked.begun

    asyncio.run(story())


def test_a_turn_that_comes_to_who_has_just_left_goes_to_the_next():
    async def story() -> None:
        asked = Asked(1, 2)
        await asked.ask("a1", "a2", "b1")
        asked._ends["a1"].set()
        await asyncio.sleep(0)  # now it is a2's turn, which has not heard of it
        await asked.leave("a2")
        assert asked.begun == ["a1", "b1"]

    asyncio.run(story())
