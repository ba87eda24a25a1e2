"""The detectors, loading in the background, so that the page is up at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from deepfake_detector.errors import DetectorError, kind_and_words
from deepfake_detector.panel import Panel
from deepfake_detector.report.words import never_said

log = logging.getLogger(__name__)

_GONE = (
    "**What you taught is gone**: this page or its server has started anew, or the time for which it is kept is over. Teach it again, or "
    "ask the model that you downloaded."
)
WAITING = 4  # visitors for the detector at a time, of each thing that waits: they hold threads that the page itself needs


class Warming:
    """Starts `load` in a thread when `start` is called; `get` waits for the detectors, or raises what went wrong."""

    def __init__(self, load: Callable[[], Panel]):
        self._load = load
        self._panel: Future[Panel] = Future()

    def start(self) -> None:
        # Not a daemon: were the process to end amid a library's own code, that would abort it. So it ends once this has.
        threading.Thread(target=self._run, name="warm-up").start()

    def _run(self) -> None:
        try:
            panel = self._load()
            panel.warm()
            self._panel.set_result(panel)
        except Exception as error:  # whatever it is, it must reach the page instead of dying with this thread
            log.error("The detector could not start: %s", error, exc_info=not isinstance(error, DetectorError))
            self._panel.set_exception(error)

    def get(self) -> Panel:
        if error := self._panel.exception():
            raise error.with_traceback(None)  # each visitor's would else be added to that of the one before, for ever
        return self._panel.result()

    def status(self, own: Panel | None = None, has_taught: bool = False) -> str:
        """One line of Markdown for the top of the page, once loading has ended; `own` is what answers this visitor alone, if any.

        One who `has_taught` is told if that is gone.
        """
        try:
            bundles = (own or self.get()).bundles
        except DetectorError as error:
            return f"**The detector could not start.** {error}"
        except Exception as error:
            return f"**The detector could not start** ({kind_and_words(error)}). The server's log has the details."
        asked = ", and ".join(f"**{bundle.name}**, which looks for {bundle.looks_for}" for bundle in bundles)
        never = [line for bundle in bundles for line in never_said(bundle.name, bundle.thresholds)]
        gone = [_GONE] if has_taught and own is None else []
        return " ".join([*gone, f"Ready. You ask {asked}.", *never])
