"""A page with a password: nothing of it, nor of the API, without; and what a file for it must be."""

from __future__ import annotations

import base64

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from deepfake_detector.errors import DetectorError
from deepfake_detector.ui import password
from tests.conftest import process

SECRET = "pässword: of two words"


def basic(given: str) -> str:
    return f"Basic {base64.b64encode(given.encode()).decode()}"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Basic", 401),
        (basic(""), 401),
        (basic(SECRET), 401),  # as a name
        (basic(f"me:{SECRET} "), 401),
        (basic(f"me:{SECRET[:-1]}"), 401),
        (basic("me:"), 401),
        ("Basic ä!", 401),
        (basic(f"me:{SECRET}").replace("Basic", "Bearer"), 401),
        (basic(f"me:{SECRET}"), 200),
        (basic(f":{SECRET}").replace("Basic", "basic"), 200),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/api/judge"), ("GET", "/there/is/none")])
def test_only_the_password_opens(authorization, status, method, path):
    routes = [Route(one, lambda _: PlainTextResponse("inside"), methods=["GET", "POST"]) for one in ("/", "/api/judge")]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(password.Locked, password=SECRET)]))
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    answer = client.request(method, path, headers=headers)
    if status == 200:
        assert answer.text == ("Not Found" if "none" in path else "inside")
    else:
        assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
        assert answer.json()["error"] == "Expected the password of this page, by HTTP Basic and under any name: curl -u :PASSWORD …"


@pytest.mark.parametrize("content", [f"{SECRET}\n", SECRET, f"{SECRET}\r\n", f"\ufeff{SECRET}\r\n"])
def test_a_files_only_line_is_the_password(tmp_path, content):
    (tmp_path / "file").write_bytes(content.encode())
    assert password.read(str(tmp_path / "file")) == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "none, or more"),
        (b"\n", "none, or more"),
        (b"one\ntwo\n", "none, or more"),
        (b"\xff", "can't be read"),
        (None, "can't be read"),
    ],
)
def test_a_file_without_a_password_opens_no_page(tmp_path, content, said):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(DetectorError, match=f"--password-file should name a file with a password.*{said}"):
        password.read(str(tmp_path / "file"))


@pytest.mark.parametrize("named", ["empty", ""])  # as "$FILE" is where that is not set
def test_without_a_password_in_its_file_nothing_is_served(tmp_path, named):
    (tmp_path / "empty").touch()
    done = process("app.py", "--password-file", named, "--no-cache", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--password-file should name a file with a password" in done.stderr
