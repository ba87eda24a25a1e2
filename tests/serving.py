"""The page as a user starts it, and pictures on the web."""

from __future__ import annotations

import functools
import os
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


@contextmanager
def served(models: list[Path], folder: Path, port: int, start: Sequence[str | Path] = (ROOT / "app.py",)):
    """`python app.py` with these models, in a folder of its own, once it answers → (its address, its process); ended by a plain kill."""
    command = [sys.executable, *map(str, start), "--port", str(port), *(f"--model={model}" for model in models)]
    socket.create_server(("127.0.0.1", port)).close()  # or another server would be asked in its place
    settings = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)
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
