"""Pages of other sites, which a visitor's browser has open too: they have nothing done, and read nothing."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from deepfake_detector.ui.other_sites import Shielded
from tests.conftest import ROOT
from tests.serving import served

FOREIGN = "https://elsewhere.example"


async def told_origin(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.headers.get("origin", "none"))


@pytest.fixture
def client() -> TestClient:
    methods = ["GET", "OPTIONS", "POST", "DELETE"]
    return TestClient(Shielded(Starlette(routes=[Route("/", told_origin, methods=methods)])), base_url="http://page.example:7860")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": FOREIGN},
        {"Origin": "http://elsewhere.example:7860"},
        {"Origin": "null"},  # of a file, or of a frame that its site shuts in
        {"Origin": "http://page.example"},  # another port is another's page
        {"Origin": "http://public.example", "Host": "public.example:443"},
        {"Origin": "http://[::1]", "Host": "["},
        {"Origin": "http://page.example:7860", "Sec-Fetch-Site": "same-site"},
        {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},  # as of a picture or a link
    ],
)
def test_another_sites_page_has_nothing_done_and_its_name_goes_no_further(client, headers):
    for method in ("POST", "DELETE"):
        refused = client.request(method, "/", headers=headers)
        assert refused.status_code == 403
        assert refused.json()["error"].startswith("Expected a request from this page itself, or from a program; received one from ")
    for method in ("GET", "OPTIONS"):
        assert client.request(method, "/", headers=headers).text == "none"


@pytest.mark.parametrize(
    "headers",
    [
        {},  # a program
        {"Origin": "http://page.example:7860"},
        {"Origin": "https://public.example", "X-Forwarded-Host": "public.example , inner.example"},  # a proxy that says for whom it stands
        {"Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"},  # one that does not
        {"Origin": "http://public.example:8080", "X-Forwarded-Host": "public.example"},  # one that leaves out the port, as by $host
        {"Origin": "http://public.example", "Host": "public.example:80"},  # one that names it always, as by $host:$server_port
        {"Origin": "https://public.example", "Host": "public.example:443"},
        {"Origin": "http://[::1]:8080", "Host": "[::1]"},
        {"Sec-Fetch-Site": "none"},  # typed in
    ],
)
def test_the_page_itself_and_programs_are_answered(client, headers):
    for method in ("GET", "POST"):
        assert client.request(method, "/", headers=headers).text == headers.get("Origin", "none")


def test_gradio_lets_no_other_site_read_and_the_password_stands_before_its_answers(model, tmp_path):
    (tmp_path / "password").write_text("secret")

    def asked(method: str, path: str, **headers: str) -> tuple[int, set[str]]:
        """The status, and what it tells browsers of who may read it."""
        request = urllib.request.Request(url + path, method=method, headers={"Host": "page.example", "Origin": FOREIGN} | headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, {name for name in answer.headers if name.lower().startswith("access-control")}
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, {name for name in answer.headers if name.lower().startswith("access-control")}

    known = {"Authorization": "Basic OnNlY3JldA=="}
    before_a_post = {"Access-Control-Request-Method": "POST"}
    with served([model], tmp_path, 7988, [ROOT / "app.py", "--password-file", "password"]) as (url, _):
        assert asked("GET", "", **known) == (200, set())
        assert asked("OPTIONS", "api/judge", **before_a_post) == (401, set())
        assert asked("OPTIONS", "api/judge", **before_a_post, **known) == (405, set())
        assert asked("POST", "api/judge", **known) == (403, set())
        assert asked("POST", "gradio_api/upload", **known) == (403, set())
