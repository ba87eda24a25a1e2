"""A page with a password: nothing of it, nor of the API, without; and what a file for it must be."""

from __future__ import annotations

import base64

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from deepfake_detector.errors import DetectorError
from deepfake_detector.ui import password
from deepfake_detector.ui.clients import network_of
from tests.conftest import script

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
    client = TestClient(password.Locked(Starlette(routes=routes), SECRET))
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    answer = client.request(method, path, headers=headers)
    if status == 200:
        assert answer.text == ("Not Found" if "none" in path else "inside")
    else:
        assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
        assert answer.json()["error"] == "Expected the password of this page, by HTTP Basic and under any name: curl -u :PASSWORD …"


def locked(**client) -> TestClient:
    routes = [Route("/", lambda _: PlainTextResponse("inside"))]
    return TestClient(password.Locked(Starlette(routes=routes), SECRET), **client)


def given(client: TestClient, secret: str) -> int:
    return client.get("/", headers={"Authorization": basic(f":{secret}")}).status_code


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """What time it is, to be set."""
    now = [1000.0]
    monkeypatch.setattr(password.time, "monotonic", lambda: now[0])
    return now


def test_guesses_are_slowed_down_and_soon_looked_at_again(clock):
    client = locked()
    assert [given(client, f"guess {number}") for number in range(12)] == [401] * 10 + [429] * 2
    refused = client.get("/", headers={"Authorization": basic(f":{SECRET}")})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2"), "else the right one could be told among many at a time"
    assert refused.json()["error"].startswith("Too many wrong passwords came from your address")
    clock[0] += 2
    assert [given(client, "guess"), given(client, "guess")] == [401, 429]
    clock[0] += 2
    assert given(client, SECRET) == 200
    client.cookies.clear()
    clock[0] += 3600
    assert [given(client, f"guess {number}") for number in range(11)] == [401] * 10 + [429], "no more than at the start"


def test_who_asks_without_a_password_has_guessed_nothing(clock):
    client = locked()
    assert {client.get("/").status_code for _ in range(50)} == {401}
    assert given(client, SECRET) == 200


def test_who_has_given_the_password_does_not_wait_for_others_guesses_behind_one_proxy(clock):
    visitor = locked()
    assert given(visitor, SECRET) == 200
    guessing = TestClient(visitor.app)
    assert 429 in [given(guessing, f"guess {number}") for number in range(11)]
    assert given(visitor, SECRET) == 200
    assert visitor.get("/").status_code == 401, "what the browser was given is no password"
    guessing.cookies.set("deepfake_detector_known", "guessed")
    assert given(guessing, SECRET) == 429


def test_guesses_from_elsewhere_keep_nobody_waiting(clock, monkeypatch):
    monkeypatch.setattr(password, "_COUNTS", 2**20)  # so that no two share one by chance
    app = locked().app
    guessing, beside, other = (TestClient(app, client=(host, 1)) for host in ("2001:db8:0:1::1", "2001:db8:0:1::2", "192.0.2.7"))
    assert 429 in [given(guessing, f"guess {number}") for number in range(11)]
    assert given(beside, SECRET) == 429, "one client has all addresses of such a network"
    assert given(other, SECRET) == 200


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "::ffff:192.0.2.7"),
        (("2001:db8:0:1:2:3:4:5", 1), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("unknown", 1), "unknown"),  # as proxies may write
        (None, ""),
    ],
)
def test_what_one_client_has_for_itself(client, network):
    assert network_of({"client": client}) == network


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
def test_without_a_password_in_its_file_nothing_is_served(tmp_path, named, monkeypatch):
    monkeypatch.setattr("deepfake_detector.ui.build.serve", lambda *_, **__: pytest.fail("a page is served"))
    (tmp_path / "empty").touch()
    done = script("app.py", "--password-file", named, "--no-cache", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--password-file should name a file with a password" in done.stderr
