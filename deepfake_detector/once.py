"""A function that is called once for everybody who needs what it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from typing import Generic, TypeVar

from deepfake_detector.errors import UnusablePicture

Value = TypeVar("Value")


class Once(Generic[Value]):
    """Calls `function` in the first thread that asks; the others wait, and get what it gave or raised."""

    def __init__(self, function: Callable[[], Value]):
        self._function: Callable[[], Value] | None = function
        self._outcome: Future[tuple[Value | None, UnusablePicture | None]] = Future()
        self._lock = threading.Lock()

    def __call__(self) -> Value:
        with self._lock:
            function, self._function = self._function, None  # what it holds is no longer needed
        if function:
            try:
                self._outcome.set_result((function(), None))
            except UnusablePicture as error:
                self._outcome.set_result((None, copy(error)))
            except Exception as error:
                self._outcome.set_exception(error)
        value, unusable = self._outcome.result()
        if unusable:
            # As a copy, too: what is raised holds all that it came through, such as the picture, and would be held here with it.
            raise copy(unusable)
        return value
