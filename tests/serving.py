"""The page as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT


@contextmanager
def served(models: list[Path], folder: Path, port: int):
    """`python app.py` with these models, in a folder of its own, once it answers → (its address, its process); ended by a plain kill."""
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), *(f"--model={model}" for model in models)]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)
        url, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + 60
        try:
            while True:
                try:
                    urllib.request.urlopen(url, timeout=1).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert server.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield url, server
        finally:
            server.terminate()
            server.wait(20)
