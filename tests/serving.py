"""The page as a user starts it, and pictures on the web."""

from __future__ import annotations

import functools
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.conftest import ROOT

_PREPARED = multiprocessing.get_context("forkserver")
_PREPARED.set_forkserver_preload(["gradio", "deepfake_detector.bundle", "deepfake_detector.ui.build", "tests.serving"])


class Prepared(_PREPARED.Process):
    """As a Popen, but a copy of a process that has the libraries loaded already, which takes longer than all else."""

    def __init__(self, command: list[str], folder: Path, settings: dict[str, str]):
        super().__init__(args=(command, folder, settings))
        self.start()

    def run(self) -> None:
        sys.argv, folder, settings = self._args
        os.chdir(folder)
        os.environ.update(settings)
        with open("log", "w") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        runpy.run_path(sys.argv[0], run_name="__main__")

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, seconds: float) -> None:
        self.join(seconds)
        if self.exitcode is None:
            raise TimeoutError(f"{self.pid} has not ended within {seconds} s")


def anew(command: list[str], folder: Path, settings: dict[str, str]) -> subprocess.Popen:
    """As a user starts it."""
    with (folder / "log").open("w") as log:
        return subprocess.Popen([sys.executable, *command], cwd=folder, env=settings, stdout=log, stderr=log)


@contextmanager
def served(models: list[Path], folder: Path, port: int, start: Sequence[str | Path] = (ROOT / "app.py",), begin=Prepared):
    """`python app.py` with these models, in a folder of its own, once it answers → (its address, its process); ended by a plain kill."""
    command = [*map(str, start), "--port", str(port), *(f"--model={model}" for model in models)]
    socket.create_server(("127.0.0.1", port)).close()  # or another server would be asked in its place
    server = begin(command, folder, os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": str(folder / "uploads")})
    url, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + 300
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except urllib.error.HTTPError as asked:  # for a password
                asked.close()
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url, server
    finally:
        server.terminate()
        try:
            server.wait(120)
        finally:
            server.kill()


@contextmanager
def web(folder):
    """Serve a folder → its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
