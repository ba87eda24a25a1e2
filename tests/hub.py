"""A local server that speaks as the Hugging Face hub does, as far as streaming a data set or fetching a model asks it to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository: str, folder: Path) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Serve a folder as the data set, or model, `repository` → (endpoint, (method, path, bytes sent) of each request)."""
    asked: list[tuple[str, str, int]] = []

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            place = unquote(urlsplit(self.path).path)
            if found := re.fullmatch(rf"/api/datasets/{repository}(/revision/[^/]+)?", place):
                return self.answer({"id": repository, "sha": COMMIT, "siblings": [], "private": False, "gated": False, "tags": []})
            if found := re.fullmatch(rf"/api/datasets/{repository}/tree/[^/]+/?(.*)", place):
                below = folder / found[1]
                entries = below.rglob("*") if "recursive=true" in self.path.lower() else below.glob("*")
                return self.answer([self.entry(file) for file in sorted(entries)]) if below.is_dir() else self.missing()
            if found := re.fullmatch(rf"(?:/datasets)?/{repository}/resolve/[^/]+/(.*)", place):
                return self.file(folder / found[1])
            return self.missing("RepoNotFound")

        do_HEAD = do_GET  # noqa: N815  the name that http.server looks for

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not re.fullmatch(rf"/api/datasets/{repository}/paths-info/[^/]+", unquote(urlsplit(self.path).path)):
                return self.missing("RepoNotFound")
            paths = json.loads(body)["paths"] if body.startswith(b"{") else re.findall(r"paths=([^&]*)", unquote(body.decode()))
            return self.answer([self.entry(folder / p) for p in paths if (folder / p).exists()])

        def entry(self, file: Path) -> dict:
            path = file.relative_to(folder).as_posix()
            oid = hashlib.sha1(path.encode()).hexdigest()
            return (
                {"type": "directory", "path": path, "oid": oid}
                if file.is_dir()
                else {"type": "file", "path": path, "oid": oid, "size": file.stat().st_size}
            )

        def file(self, path: Path) -> None:
            if not path.is_file():
                return self.missing("EntryNotFound")
            content = path.read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not wanted:
                return self.send(200, content, headers)
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            return self.send(206, content[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

        def answer(self, value: object) -> None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def missing(self, code: str = "EntryNotFound") -> None:
            self.send(404, b"{}", {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            asked.append((self.command, self.path, len(content) if self.command != "HEAD" else 0))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
