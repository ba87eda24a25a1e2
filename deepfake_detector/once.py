"""A function that is called once for everybody who needs what it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Once(Generic[Value]):
    """Calls `function` in the first thread that asks; the others wait, and get what it gave or raised."""

    def __init__(self, function: Callable[[], Value]):
        self._function: Callable[[], Value] | None = function
        self._outcome: Future[Value] = Future()
        self._lock = threading.Lock()

    def __call__(self) -> Value:
        with self._lock:
            function, self._function = self._function, None  # what it holds is no longer needed
        if function:
            try:
                self._outcome.set_result(function())
            except Exception as error:
                self._outcome.set_exception(error)
        return self._outcome.result()
