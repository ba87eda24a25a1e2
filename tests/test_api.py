"""The API: a file in, the verdict of `predict --json` out; what can't be judged gets a status and words; nothing stays."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deepfake_detector.detect import Detector
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import BundleError
from deepfake_detector.panel import Panel
from deepfake_detector.types import Looked, Part, Thresholds, Verdict
from deepfake_detector.ui import api
from deepfake_detector.ui.turns import Turns
from deepfake_detector.ui.warming import Warming
from tests.clips import draw_clip
from tests.conftest import answering, draw
from tests.serving import served
from tests.signing import noise, signed


def client_of(load) -> TestClient:
    warming = Warming(load)
    warming.start()
    return TestClient(Starlette(routes=api.routes(warming)), raise_server_exceptions=False)


@pytest.fixture
def panel(model, tmp_path) -> Panel:
    return Panel([Detector(model), Detector(answering(model, tmp_path / "second", "leans to real"))])


@pytest.fixture
def client(panel) -> TestClient:
    return client_of(lambda: panel)


def post(client: TestClient, name: str, content: bytes):
    return client.post(api.PATH, files={"file": (name, content)})


def same(one: dict, other: dict) -> bool:
    """Apart from whether it was encoded anew."""
    return json.loads(json.dumps(one | {"cached": 0, "others": 0})) == json.loads(json.dumps(other | {"cached": 0, "others": 0}))


@pytest.mark.parametrize(("label", "verdict"), [(0, "real"), (1, "fake")])
def test_a_picture_gets_the_verdict_that_python_gives(client, panel, tmp_path, label, verdict):
    picture = draw(tmp_path / "a b.png", label, 4321)
    answer = post(client, picture.name, picture.read_bytes())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["verdict"] == verdict
    assert same(answer.json(), {"file": "a b.png"} | panel.judge_file(picture).to_json())
    assert [other["model"] for other in answer.json()["others"]] == ["second"]


def test_parts_or_where_a_model_looked_are_told_when_asked_for(client, panel, tmp_path, monkeypatch):
    picture, clip = draw(tmp_path / "a.png", 1, 4322), draw_clip(tmp_path / "clip.mp4", [0, 40])

    def told(parts: str, file: Path = picture) -> dict:
        return client.post(f"{api.PATH}?parts={parts}", files={"file": (file.name, file.read_bytes())}).json()

    assert told("1").keys() == told("0").keys(), "this model has neither"
    monkeypatch.setattr(panel.first, "looked_at", lambda content: (Looked((0, 0, 48, 40), np.full((2, 2), 0.25)),))
    assert told("1")["looked"] == [{"box": [0, 0, 48, 40], "shares": [[0.25, 0.25], [0.25, 0.25]]}]
    monkeypatch.setattr(panel.first, "parts", lambda content, of_clip: (Part((0, 0, 24, 24), 0.9), Part((24, 0, 48, 24), 0.2)))
    assert told("1")["parts"] == [{"box": [0, 0, 24, 24], "p_fake": 0.9}, {"box": [24, 0, 48, 24], "p_fake": 0.2}]
    for without in (told("0"), told("0", clip)):
        assert {"parts", "looked"}.isdisjoint(without)
        assert "verdict" in without
    assert told("yes") == {"error": "parts should be 1, or 0 for none; received 'yes'."}
    assert told("1", clip)["error"].startswith("parts are of pictures, and 'clip.mp4' is a clip by its ending.")


@pytest.mark.parametrize("asked", ["every=3", "parts=1&every=3", "Parts=1", "=1", "model=default&every=2"])
def test_what_else_is_asked_for_is_refused_and_what_is_known_is_named(client, asked):
    answer = client.post(f"{api.PATH}?{asked}", files={"file": ("a.jpg", noise())})
    assert answer.status_code == 422
    assert answer.json()["error"].endswith("parts, 1 for each part of a picture by itself, and frames, how many of a clip to judge.")
    assert repr(asked.removeprefix("parts=1&").partition("=")[0]) in answer.json()["error"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("frames=16&frames=48", "frames should be given once; received '16' and '48'."),
        ("parts=1&frames=16&parts=1", "parts should be given once; received '1' and '1'."),
    ],
)
def test_what_is_asked_for_twice_is_refused(client, asked, said):
    answer = client.post(f"{api.PATH}?{asked}", files={"file": ("a.jpg", noise())})
    assert (answer.status_code, answer.json()) == (422, {"error": said})


def test_a_clip_is_judged_by_its_frames(client, tmp_path):
    clip = draw_clip(tmp_path / "clip.mp4", [0, 40, 80, 120])
    answer = post(client, "clip.mp4", clip.read_bytes()).json()
    assert len(answer["frames"]) == 4


def test_so_many_frames_of_a_clip_are_judged_as_are_asked_for(client, tmp_path):
    clip = draw_clip(tmp_path / "clip.mp4", list(range(0, 1000, 40))).read_bytes()

    def judged(asked: str) -> int:
        return len(client.post(f"{api.PATH}?{asked}", files={"file": ("clip.mp4", clip)}).json()["frames"])

    assert [judged(asked) for asked in ("", "frames=1", "frames=20", "frames=20&parts=0", "frames=144")] == [16, 1, 20, 20, 25]


@pytest.mark.parametrize("wrong", ["0", "145", "-3", "16.0", "1e1", "%2016", "016", "many", "", "%D9%A3"])
def test_a_number_of_frames_that_is_none_is_refused_before_the_file_is_sent(client, wrong):
    answer = client.post(f"{api.PATH}?frames={wrong}", content=b"no form")
    assert answer.status_code == 422
    assert answer.json()["error"] == f"frames should be a whole number from 1 to 144; received {unquote(wrong)!r}."


def test_a_picture_has_no_number_of_frames(client):
    answer = client.post(f"{api.PATH}?frames=16", files={"file": ("a.jpg", noise())})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("frames are of clips, and 'a.jpg' is none by its ending. Leave frames out")


def test_what_the_file_declares_is_told(client):
    answer = post(client, "a.jpg", signed(noise())).json()
    assert (answer["verdict"], answer["declared"][0]["signed_by"]) == ("fake", "Test Studio")


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("a.jpg", b"I am a text", 422, "not a picture that can be read; expected JPEG, PNG"),
        ("a.jpg", b"", 422, "empty file"),
        ("a.mp4", b"", 422, "empty file"),
        ("a.mp4", b"I am a text", 422, "not a video that can be read"),
        ("../../a.png", noise("PNG", size=(8, 8)), 422, "too small: 8 x 8"),
        ("", noise(), 422, "Expected a file in the field 'file'"),
    ],
)
def test_what_can_not_be_judged_gets_words(client, name, content, status, words):
    answer = post(client, name, content)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_too_long_a_clip_is_refused_as_on_the_page(client, tmp_path):
    answer = post(client, "long.mp4", draw_clip(tmp_path / "long.mp4", [0, 601_000]).read_bytes())
    assert answer.status_code == 422
    assert "at most 600" in answer.json()["error"]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"content": b"\xff\xd8"}, 415, "received no content type. Send it as the field 'file' of a form: curl -F file=@"),
        ({"json": {"file": "a.jpg"}}, 415, "received the content type 'application/json'"),
        ({"files": {"picture": ("a.jpg", b"x")}}, 422, "in the field 'file'; received 'picture'"),
        ({"data": {"file": "a.jpg"}, "files": {"x": ("a", b"x")}}, 422, "in the field 'file'; received text in it. Send it"),
        ({"data": {"frames": "48"}, "files": {"file": ("a.jpg", b"x")}}, 422, "'file' alone; received also 'frames'. Ask for more in"),
        ({"files": [("file", ("a.jpg", b"x")), ("file", ("b.jpg", b"x"))]}, 422, "The form can't be read (Too many files"),
        ({"content": b"--y\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 422, ""),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "The form can't be read"),
    ],
)
def test_a_request_of_another_shape_says_what_to_send(client, request_, status, words):
    answer = client.post(api.PATH, **request_)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]


def form(content_type: str, name: bytes = b"a.jpg", file: bytes | None = None) -> dict:
    """A request with a picture by this name, or with another file, its words split by B."""
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
    return {"content": head + (file or noise()) + b"\r\n--B--\r\n", "headers": {"content-type": content_type}}


@pytest.mark.parametrize("kind", ["Multipart/Form-Data; boundary=B", "MULTIPART/FORM-DATA ;boundary=B"])
def test_letter_case_does_not_matter_in_a_media_type(client, kind):
    assert client.post(api.PATH, **form(kind)).status_code == 200


def test_a_slash_behind_the_address_does_not_matter(client):
    assert client.post(f"{api.PATH}/", **form("multipart/form-data; boundary=B"), follow_redirects=False).status_code == 200


@pytest.mark.parametrize(
    ("charset", "name", "told"),
    [("utf-7", b"+2AA-.jpg", r"\ud800.jpg"), ("unicode_escape", rb"\udce9.jpg", r"\udce9.jpg"), ("utf-8", "é\n.jpg".encode(), "é\n.jpg")],
)
def test_a_name_that_no_json_can_hold_is_spelt_out(client, charset, name, told):
    answer = client.post(api.PATH, **form(f"multipart/form-data; boundary=B; charset={charset}", name))
    assert (answer.status_code, answer.json()["file"]) == (200, told)


def test_a_charset_that_no_text_is_in_is_refused(client):
    answer = client.post(api.PATH, **form("multipart/form-data; boundary=B; charset=undefined"))
    assert answer.status_code == 422
    assert "The form can't be read" in answer.json()["error"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_answered(client, method):
    asked = client.request(method, api.PATH)
    assert (asked.status_code, asked.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert f"Expected POST with a file; received {method}. Send it as the field 'file'" in asked.json()["error"]


@pytest.mark.parametrize("states_its_length", [True, False])
def test_too_large_a_file_is_refused_before_it_is_kept(client, monkeypatch, states_its_length):
    monkeypatch.setattr(api, "MAX_FILE_BYTES", 2**20)
    sent = []

    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(2**11):
            sent.append(1)
            yield bytes(2**10)
        yield b"\r\n--x--\r\n"

    content = b"".join(body()) if states_its_length else body()
    answer = client.post(api.PATH, content=content, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413
    assert "at most 1 MiB" in answer.json()["error"]


def test_a_detector_that_could_not_start_is_said():
    def load():
        raise BundleError("there is no model here")

    answer = post(client_of(load), "a.jpg", noise())
    assert answer.status_code == 503
    assert "could not start" in answer.json()["error"]


def test_more_than_may_wait_are_turned_away(monkeypatch):
    monkeypatch.setattr(api, "AT_ONCE", 1)
    monkeypatch.setattr(api, "WAITING", 0)
    go, asked = threading.Event(), Future()

    class Slow:
        def warm(self):
            pass

        def judging(self, path, sampling):
            if not asked.done():
                asked.set_result(None)
            assert go.wait(60)
            yield Verdict("real", 0.1, Thresholds(0.2, 0.8), "m", "e", "s", False, 1.0)

    statuses = []
    with client_of(Slow) as client:
        first = threading.Thread(target=lambda: statuses.append(post(client, "a.jpg", noise()).status_code))
        first.start()
        asked.result(60)
        answer = post(client, "a.jpg", noise())
        go.set()
        first.join(60)
        assert (answer.status_code, statuses) == (503, [200])
        assert "Ask again in a minute" in answer.json()["error"]
        assert answer.headers["Retry-After"] == "60"
        assert post(client, "a.jpg", noise()).status_code == 200, "there is room again"


def test_one_client_with_many_files_keeps_no_other_out(monkeypatch):
    monkeypatch.setattr(api, "AT_ONCE", 1)
    monkeypatch.setattr(api, "WAITING", 3)
    go, began = threading.Event(), Future()

    def judge(path, sampling):
        if not began.done():
            began.set_result(None)
        assert go.wait(60)
        return alone().judging(path, sampling)

    with client_of(lambda: SimpleNamespace(warm=lambda: None, judging=judge)) as many, ThreadPoolExecutor(6) as threads:
        one = TestClient(many.app, client=("192.0.2.7", 1))
        one.portal = many.portal  # one loop for both, as a server has
        waiting = {threads.submit(post, many, "a.jpg", noise()) for _ in range(5)}
        began.result(60)
        refused = next(as_completed(waiting, 60))
        assert refused.result().status_code == 503, "all places are taken"
        other = threads.submit(post, one, "a.jpg", noise())
        gave_way = next(as_completed(waiting - {refused}, 60)).result()
        assert (gave_way.status_code, "most of them yours" in gave_way.json()["error"]) == (503, True)
        go.set()
        assert other.result(60).status_code == 200
        assert sorted(answer.result(60).status_code for answer in waiting) == [200, 200, 200, 503, 503]


def alone() -> Panel:
    """A panel of which only the answering counts."""
    verdict = Verdict("real", 0.1, Thresholds(0.2, 0.8), "m", "e", "s", False, 1.0)
    return SimpleNamespace(warm=lambda: None, judging=lambda path, sampling: (one for one in [verdict]))


@contextmanager
def listening(load=alone):
    """The API on a socket of its own → its port: only there do bytes take their time."""
    warming = Warming(load)
    warming.start()
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=api.routes(warming)), port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def sending(port: int, length: int = 10_000, wanted: str = "") -> socket.socket:
    """A client whose upload of so many bytes the server waits for, none of which has been sent."""
    client = socket.create_connection(("127.0.0.1", port), 20)
    head = f"POST {api.PATH}{wanted} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: {length}\r\n"
    client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 100 Continue")
    return client


def answered(client: socket.socket) -> tuple[int, dict]:
    """The status and JSON that a client gets before the server hangs up."""
    with client, client.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def posted(port: int) -> int:
    sent = form("multipart/form-data; boundary=B")
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{api.PATH}", sent["content"], sent["headers"])
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_uploads_that_stop_are_ended_and_keep_nobody_out(monkeypatch):
    monkeypatch.setattr(api, "AT_ONCE", 1)
    monkeypatch.setattr(api, "WAITING", 0)
    monkeypatch.setattr(api, "_PATIENCE", 3)
    with listening() as port:
        stopped = [sending(port), sending(port)]
        stopped[0].sendall(b"--B\r\n")
        assert posted(port) == 200, "there is room while others send"
        for client in stopped:
            status, told = answered(client)
            assert (status, told["error"].split(".")[0]) == (408, "The file comes too slowly")
        assert posted(port) == 200


def test_where_too_many_are_sent_the_slowest_makes_room(monkeypatch):
    monkeypatch.setattr(api, "SENDING", 3)
    content = form("")["content"]
    with listening() as port:
        slow = sending(port, len(content))
        slow.sendall(content[:500])
        idle = [sending(port) for _ in range(5)]
        assert [posted(port) for _ in range(3)] == [200] * 3, "whoever sends, and from where"
        for client in idle[:4]:
            status, told = answered(client)
            assert (status, told["error"].split(".")[0]) == (408, "Too many files are being sent, and this came the slowest")
        slow.sendall(content[500:])
        with slow, idle[4]:
            assert slow.recv(4096).startswith(b"HTTP/1.1 200"), "who sends on keeps the place"


def test_an_upload_may_take_long_but_not_for_ever(monkeypatch):
    now, looked = [1000.0], threading.Semaphore(0)

    def clock() -> float:
        looked.release()
        return now[0]

    monkeypatch.setattr(api, "time", SimpleNamespace(monotonic=clock))
    content = form("")["content"]
    piece = -(-len(content) // 8)
    monkeypatch.setattr(api, "_SLOWEST", piece / 20)
    with listening() as port:
        with sending(port, len(content)) as slow:
            assert looked.acquire(timeout=60), "when it began"
            for at in range(0, len(content), piece):
                assert looked.acquire(timeout=60), "before each piece"
                now[0] += 20  # seconds, of which there is patience for 30, and 20 more for each piece
                slow.sendall(content[at : at + piece])
            assert slow.recv(4096).startswith(b"HTTP/1.1 200")
        with sending(port) as trickling:
            now[0] += 31
            trickling.sendall(b"-")
            assert trickling.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_clip_whose_judgement_nobody_waits_for_frees_its_place(model, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "AT_ONCE", 1)
    monkeypatch.setattr(api, "WAITING", 1)
    encoded, begun, go, asked = [], threading.Event(), threading.Event(), Future()
    encode, wait, others = Encoder.encode, Turns._wait, set(threading.enumerate())

    def slowly(encoder, prepared):
        encoded.append(len(prepared))
        if len(encoded) > 1:  # the first warms it up
            begun.set()
            assert go.wait(60)
        return encode(encoder, prepared)

    def waiting_for_its_turn(turns, client):
        if not asked.done():
            asked.set_result(turns)
        return wait(turns, client)

    monkeypatch.setattr(Encoder, "encode", slowly)
    monkeypatch.setattr(Turns, "_wait", waiting_for_its_turn)
    content = form("", b"a.mp4", draw_clip(tmp_path / "a.mp4", list(range(0, 6400, 40))).read_bytes())["content"]
    with listening(lambda: Panel([Detector(model)])) as port:
        with sending(port, len(content), "?frames=144") as waiting, sending(port, len(content), "?frames=144") as leaving:
            leaving.sendall(content)
            assert begun.wait(60)
            waiting.sendall(content)
            turns = asked.result(60)
            assert posted(port) == 503
        deadline = time.monotonic() + 60
        while turns._waiting:  # until the server knows that both have left, this one last
            assert time.monotonic() < deadline
            time.sleep(0.01)
        go.set()
        assert posted(port) == 200
        assert sum(encoded) < 72, "half of the frames of one"
        assert not [one for one in set(threading.enumerate()) - others if one.name.startswith("decode")], "nor does a thread hold its file"


def test_who_leaves_during_an_upload_leaves_nothing_in_the_log(caplog):
    with listening() as port:
        for sent in (b"", b"--B\r\n"):
            with sending(port) as leaving:
                leaving.sendall(sent)
        assert posted(port) == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl on this machine")
def test_by_curl_on_the_pages_own_server_and_nothing_stays(model, tmp_path):
    picture = draw(tmp_path / "mine.png", 1, 8765)
    clip = draw_clip(tmp_path / "mine.mp4", [0, 40, 80])
    with served([model], tmp_path, 7989) as (url, _):
        for file in (picture, clip):
            done = subprocess.run(
                ["curl", "-sS", "-F", f"file=@{file}", f"{url}api/judge"], capture_output=True, text=True, timeout=60, check=True
            )
            assert same(json.loads(done.stdout), {"file": file.name} | Panel([Detector(model)]).judge_file(file).to_json())
        assert not [file for file in (tmp_path / "uploads").rglob("*") if file.is_file()]
