"""One file a tab, each with TITLE, ORDER and build(gr, detector, visitor)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepfake_detector.ui.verdict_card import under_way
from deepfake_detector.ui.warming import WAITING, Warming

if TYPE_CHECKING:
    from gradio import Checkbox, FileData, Markdown, State

AWAITED = "<p>The answer will stand here: real, fake or unsure, how sure, and why.</p>"  # where nothing was dropped yet
WAITS = under_way("It waits for its turn.")
KEPT = 2 * 3600  # seconds that it is kept for
HIDDEN = {"visible": False, "__type__": "update"}  # as Gradio's page is told


class Upload(NamedTuple):
    """Where a file lies, and the name that it came by, or its address: Gradio takes signs out of names."""

    path: str
    name: str

    @classmethod
    def of(cls, payload: FileData | None) -> Upload | None:
        return payload and cls(payload.path, payload.orig_name or Path(payload.path).name)


@dataclass
class Held:
    """Which turn it is: what a visitor's box holds by now, as the browser counts it. An answer of another must not stand beside it.

    `waits` says that none has begun to judge it.
    """

    turn: int = 0
    waits: bool = False

    def takes(self, turn: int) -> bool:
        """Whether it is this turn from now on. It is not where it is a later one already: two requests may overtake each other."""
        if turn <= self.turn:
            return False
        self.turn, self.waits = turn, True
        return True

    def begins(self, turn: int) -> bool:
        """Whether this turn is to be judged, which is once: of two changes in quick succession Gradio asks twice about the last."""
        if turn != self.turn or not self.waits:
            return False
        self.waits = False
        return True

    def while_it_is(self, turn: int, said: Iterable[tuple[Any, ...]], nothing: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """What is said, for as long as it is this turn; with another ends also what was still to be judged."""
        for shown in said:
            if turn != self.turn:
                break
            yield shown  # where a visitor has left meanwhile, Gradio ends it here
        # At the end Gradio says again what was said last. Where that is to stay, nothing may follow it: what comes quickly after
        # another can take its place in the browser before that was shown.
        if turn != self.turn:
            yield nothing


@dataclass(frozen=True)
class Visitor:
    """What is kept for one visitor alone.

    `taught` holds the panel whose first model this visitor has taught, None for as long as it is the one that all share; `corrections`
    what the visitor has said that pictures are. `has_taught` is held by the browser, and so tells of what the server has lost by now, as it
    does with a restart. `status` is the line that says who is asked.
    """

    taught: State
    corrections: State
    has_taught: Checkbox
    status: Markdown


def asking_who_answers(detector: Warming, visitor: Visitor) -> dict[str, Any]:
    """The event that brings the status up to date: when something was taught, and after each answer, so that it is true of that."""
    return {
        "fn": detector.status,
        "inputs": [visitor.taught, visitor.has_taught],
        "outputs": visitor.status,
        "concurrency_limit": WAITING,
        "show_progress": "hidden",
        "api_visibility": "private",
    }


def another_turn(box: str, full: list[Any], empty: list[Any], *, always: bool = False) -> str:
    """JavaScript for when another turn begins → its number, and what is to stand in the other outputs: where the box is full, or empty.

    In the browser: told by the server, it would come by another way than the answers do, and perhaps after them. But for `always`, nothing
    changes where the box holds what it did: Gradio tells twice of a picture that was fetched. An empty one holds nothing, however closely
    one would look.
    """
    return f"""(...asked) => {{
  const turns = window.turns ??= {{}}, {{turn, held}} = turns.{box} ??= {{turn: 0, held: '', isHeard: true}};
  const holds = asked[0] && asked[0].length !== 0 ? JSON.stringify(asked, ['path', 'orig_name']) : '';
  if (holds === held && !{json.dumps(always)}) return Array({len(full) + 1}).fill({{__type__: 'update'}});
  turns.{box} = {{turn: turn + 1, held: holds}};
  return [turn + 1, ...(holds ? {json.dumps(full)} : {json.dumps(empty)})];
}}"""


def once_more(box: str, full: list[Any], empty: list[Any]) -> str:
    """JavaScript that says once more in this turn what it began with, for when the server has heard of it.

    Until then it goes on about the turn before, which would stand for as long as this one waits.
    """
    return f"""() => {{
  const turn = window.turns.{box};
  if (turn.isHeard) return Array({len(full)}).fill({{__type__: 'update'}});
  turn.isHeard = true;
  return turn.held ? {json.dumps(full)} : {json.dumps(empty)};
}}"""
