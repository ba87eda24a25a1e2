"""Fetching from servers that stall, lie, loop and die; the guard against addresses that are not public; the store of outcomes."""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest
from PIL import Image

from deepfake_detector import addresses
from deepfake_detector.addresses import GuardedBackend, is_public, resolve
from deepfake_detector.errors import AddressRefused, StoreError
from deepfake_detector.fetch import Fetcher, Limits, fetched_now
from deepfake_detector.picture_store import Fetched, PictureStore
from tests.conftest import ROOT

PATIENT = Limits(backoff=0.01, max_bytes=200_000)
QUICK = replace(PATIENT, read=1.5, total=2.5)  # where servers stall: on a busy machine others may need longer


def png(seed: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGB", size, (seed % 256, seed // 256 % 256, 99))
    image.putpixel((0, 0), (0, 0, 0))  # a picture of one colour is refused
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Answers each path as `answers` says, counts requests, and notes how many ran at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answers, self.asked, self.starts = {}, Counter(), []
        self.now = self.peak = 0
        self.lock, self.over = threading.Lock(), threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that hangs up on a bad server

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):  # noqa: N802 (named by http.server)
        server = self.server
        with server.lock:
            server.asked[self.path] += 1
            server.starts.append(time.monotonic())
            server.now += 1
            server.peak = max(server.peak, server.now)
        try:
            answer = server.answers[self.path]
            (answer[min(server.asked[self.path], len(answer)) - 1] if isinstance(answer, list) else answer)(self)
        finally:
            with server.lock:
                server.now -= 1

    def log_message(self, *_):
        pass


def reply(body: bytes = b"", status: int = 200, delay: float = 0, **headers: str):
    """An answer; of a header named here, None leaves it out."""

    def answer(handler):
        handler.server.over.wait(delay)
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}).items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        if headers.get("Content_Length", "") is None or int(headers.get("Content_Length", len(body))) != len(body):
            handler.close_connection = True

    return answer


def drip(start: bytes, piece: bytes):
    def answer(handler):
        handler.wfile.write(start)
        while not handler.server.over.wait(0.05):
            handler.wfile.write(piece)

    return answer


def stall(handler):
    handler.server.over.wait(20)


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """No name is ever looked up and nothing but loopback contacted; the fixture is the table of names."""
    names: dict[str, list[str]] = {}
    connect = httpcore.AnyIOBackend.connect_tcp

    async def resolve(host, port):
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return names[host]

    async def connect_tcp(self, host, *arguments):
        assert host.startswith("127."), host
        return await connect(self, host, *arguments)

    monkeypatch.setattr(addresses, "resolve", resolve)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    return names


def fetch(store, urls, limits=PATIENT, **options):
    with Fetcher(store, allow_private=True, limits=limits, **options) as fetcher:
        return list(fetcher.fetch(urls))


HTML = b"<html>This picture is no longer here</html>"
BIG = os.urandom(300_000)
BOMB = gzip.compress(bytes(30_000_000))


def pixel_bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 900 million pixels."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = (30_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


HOSTILE = {  # path: what the server does, what becomes of it, how often it is asked
    "serves": (reply(png()), "ok", 1),
    "serves_without_length": (reply(png(), Content_Length=None), "ok", 1),
    "serves_and_names_another_place": (reply(png(), Location="/other_picture"), "ok", 1),
    "says_it_is_text": (reply(png(), Content_Type="text/html"), "ok", 1),
    "page_named.jpg": (reply(HTML, Content_Type="image/jpeg"), "not_a_picture", 1),
    "empty": (reply(b""), "not_a_picture", 1),
    "gone": (reply(HTML, 404), "not_found", 1),
    "gone_for_good": (reply(HTML, 410), "not_found", 1),
    "forbidden": (reply(HTML, 403), "refused", 1),
    "needs_a_login": (reply(HTML, 401), "refused", 1),
    "teapot": (reply(HTML, 418), "error", 1),
    "part_of_it": (reply(png(), 206), "error", 1),
    "redirect_without_target": (reply(b"", 302), "error", 1),
    "stalls": (stall, "timeout", 1),
    "stalls_after_headers": (drip(b"HTTP/1.1 200 OK\r\n\r\n", b""), "timeout", 1),
    "drips_its_body": (drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), "timeout", 1),
    "drips_its_headers": (drip(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"), "timeout", 1),
    "continues_for_ever": (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout", 1),
    "chunks_without_end": (drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), "timeout", 1),
    "one_chunk_of_any_size": (drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", bytes(50_000)), "too_large", 1),
    "length_of_no_number": (reply(png(), Content_Length="9" * 5000), "error", 3),
    "length_below_zero": (reply(png(), Content_Length="-5"), "error", 3),
    "two_lengths": (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n", b"x"), "error", 3),
    "svg": (reply(b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'), "not_a_picture", 1),
    "postscript": (reply(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n"), "not_a_picture", 1),
    "redirects_with_a_body_without_end": (drip(b"HTTP/1.1 302 Found\r\nLocation: /other_picture\r\n\r\n", b"x" * 9), "ok", 1),
    "redirects_to_bytes": (reply(b"", 302, Location="http://\xff\xfe\x01/"), "refused", 1),
    "redirects_to_a_very_long_address": (reply(b"", 302, Location="/" + "x" * 70_000), "refused", 1),
    "huge_headers": (reply(png(), X_Long="x" * 400_000), "error", 3),
    "no_http": (drip(b"SSH-2.0-OpenSSH_9.7\r\n\r\n", b"?\r\n"), "error", 3),
    "promises_more": (reply(png(), Content_Length="5000"), "error", 3),
    "promises_less": (reply(png(), Content_Length="60"), "not_a_picture", 1),
    "dies_in_a_chunk": (reply(b"ffff\r\n" + png(), Content_Length=None, Transfer_Encoding="chunked"), "error", 3),
    "tiny": (reply(png(size=(1, 1))), "too_small", 1),
    "says_too_large": (reply(BIG), "too_large", 1),
    "is_too_large": (reply(BIG, Content_Length=None), "too_large", 1),
    "pixel_bomb": (reply(pixel_bomb()), "too_large", 1),
    "gzip_bomb": (reply(BOMB, Content_Encoding="gzip"), "not_a_picture", 1),
    "truncated": (reply(png()[:60]), "not_a_picture", 1),
    "breaks": (reply(HTML, 500), "error", 3),
    "redirects_to_itself": (reply(b"", 302, Location="/redirects_to_itself"), "error", 6),
    "redirects_in_a_circle": (reply(b"", 301, Location="/other_way_round"), "error", 3),
    "other_way_round": (reply(b"", 307, Location="redirects_in_a_circle"), "error", 3),
    "redirects_to_a_file": (reply(b"", 302, Location="file:///etc/passwd"), "refused", 1),
    "redirects_to_a_password": (reply(b"", 302, Location="//me:secret@127.0.0.1/"), "refused", 1),
    "redirects_to_nonsense": (reply(b"", 302, Location="http://127.0.0.1:eighty/"), "refused", 1),
    "redirects_to_a_picture": (reply(b"", 302, Location="/other_picture"), "ok", 1),
    "breaks_once": ([reply(HTML, 503), reply(png(2))], "ok", 2),
    "is_busy_once": ([reply(HTML, 429, Retry_After="0"), reply(png(3))], "ok", 2),
    "dies_once": ([reply(png(4), Content_Length="5000"), reply(png(4))], "ok", 2),
}


def test_a_hostile_server_gets_each_outcome_in_order(tmp_path):
    servers = {name: Server() for name in HOSTILE}  # each its own host, so that none is left alone for what others did
    for one in servers.values():
        one.answers |= {f"/{n}": answer for n, (answer, *_) in HOSTILE.items()} | {"/other_picture": reply(png(1))}
    urls = [f"{one.url}/{name}" for name, one in servers.items()]
    stalling = [url for url, (_, outcome, _) in zip(urls, HOSTILE.values(), strict=True) if outcome == "timeout"]
    began = time.monotonic()
    stalled = fetch(tmp_path, stalling, QUICK)
    took = time.monotonic() - began
    answered = fetch(tmp_path, [url for url in urls if url not in stalling], concurrency=16)
    for one in servers.values():
        one.close()
    assert [f.url for f in stalled] + [f.url for f in answered] == stalling + [url for url in urls if url not in stalling]
    found = sorted(stalled + answered, key=lambda one: urls.index(one.url))
    assert {n: f.outcome for n, f in zip(HOSTILE, found, strict=True)} == {n: outcome for n, (_, outcome, _) in HOSTILE.items()}
    circle = {"redirects_in_a_circle", "other_way_round"}
    asked = {n: sum(s.asked.values()) // (2 if n in circle else 1) for n, s in servers.items()}
    assert asked | {"redirects_to_a_picture": 1, "redirects_with_a_body_without_end": 1} == {n: times for n, (*_, times) in HOSTILE.items()}
    assert all((f.content is not None) == (f.outcome == "ok") and bool(f.detail) == (f.outcome != "ok") for f in found)
    contents = dict(zip(HOSTILE, (f.content for f in found), strict=True))
    assert contents["serves"] == contents["says_it_is_text"] == png()
    assert contents["redirects_to_a_picture"] == png(1)
    assert took < 12, "no slot is held beyond the time-outs"


NO_WEB_ADDRESS = ["", "picture.jpg", "//127.0.0.1/a", "file:///etc/passwd", "ftp://127.0.0.1/a", "ws://127.0.0.1/", "javascript:alert(1)"]
NO_WEB_ADDRESS += ["data:image/png;base64,AAAA", "http://", "http:///a", "http://a\nb/", "http://[::1", "http://127.0.0.1/\ud800"]
NO_WEB_ADDRESS += ["http://me@127.0.0.1/", "http://me:secret@127.0.0.1/", "http://127.0.0.1\\@127.0.0.1/"]


def test_what_is_no_plain_web_address_is_refused_in_words(tmp_path):
    found = fetch(tmp_path, NO_WEB_ADDRESS)
    assert [f.url for f in found] == NO_WEB_ADDRESS
    assert {f.outcome for f in found} == {"refused"}
    assert all("expected http" in f.detail or "password" in f.detail for f in found)


# The guard


PUBLIC = ["8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
NOT_PUBLIC = (
    ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"]
    + ["100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"]
    + ["203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1", "::", "::1", "::7f00:1"]
    + ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:808:808::1"]
    + [
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "5f00::1",
    ]
)
ODD = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.0x1",
    "0",
    "134744072",
    "8.8.8.8.",
    "1.2.3.4.5",
]


def reached(host: str, monkeypatch, port: int = 80, **options) -> list[str]:
    """The addresses that the guard would connect to, none of which answers."""
    tried = []

    async def connect_tcp(self, address, *_):
        tried.append(address)
        raise httpcore.ConnectError("nobody there")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    with pytest.raises((AddressRefused, httpcore.ConnectError)):
        asyncio.run(GuardedBackend(**options).connect_tcp(host, port, 1))
    return tried


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_asked(address, only_loopback, monkeypatch):
    only_loopback["name.test"] = [address]
    assert reached(address, monkeypatch) == reached("name.test", monkeypatch) == [address]


def test_the_systems_resolver_gives_each_address_once():
    assert asyncio.run(resolve("127.0.0.1", 80)) == ["127.0.0.1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_another_address_is_refused_by_number_and_by_name(address, only_loopback, monkeypatch):
    only_loopback["name.test"] = [address]
    assert reached(address, monkeypatch) == reached("name.test", monkeypatch) == []
    assert reached("name.test", monkeypatch, allow_private=True), "but for one's own mirror"


@pytest.mark.parametrize("host", ODD)
def test_an_odd_spelling_is_refused_whatever_the_resolver_makes_of_it(host, only_loopback, monkeypatch):
    only_loopback[host] = ["8.8.8.8"]
    assert reached(host, monkeypatch) == []


def test_of_mixed_answers_only_the_public_ones_are_asked(only_loopback, monkeypatch):
    only_loopback["name.test"] = ["127.0.0.1", "8.8.8.8", "::1", "10.0.0.1", "2606:4700::1111"]
    assert reached("name.test", monkeypatch) == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 11211])
def test_a_port_that_serves_no_pictures_is_refused(port, monkeypatch):
    assert reached("8.8.8.8", monkeypatch, port) == []


def test_other_ways_to_write_this_machine_are_refused(tmp_path, only_loopback):
    only_loopback |= {"localhost": ["127.0.0.1", "::1"], "localhost.": ["127.0.0.1"]}
    hosts = ["127。0。0。1", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "localhost", "LOCALHOST."]
    with Fetcher(tmp_path, limits=PATIENT) as fetcher:
        assert [f.outcome for f in fetcher.fetch(f"http://{host}/" for host in hosts)] == ["refused"] * len(hosts)


def test_by_default_this_machine_is_not_asked(tmp_path, server):
    server.answers["/"] = reply(png())
    with Fetcher(tmp_path, limits=PATIENT) as fetcher:
        (found,) = fetcher.fetch([server.url + "/"])
    assert found.outcome == "refused"
    assert not server.asked


def test_each_redirect_is_checked_anew_and_each_name_resolved_once(tmp_path, server, only_loopback, monkeypatch):
    """127.0.0.1 plays the public internet here; names then turn to what is not public."""
    monkeypatch.setattr(addresses, "is_public", lambda address: str(address) == "127.0.0.1" or is_public(address))
    monkeypatch.setattr(addresses, "PORTS", {server.server_port, 80})
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    looked_up = []

    async def rebinding(host, port):
        looked_up.append(host)
        return next(answers) if host == "rebinding.test" else only_loopback[host]

    monkeypatch.setattr(addresses, "resolve", rebinding)
    only_loopback["private.test"] = ["10.0.0.1"]
    targets = [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://private.test/",
        "http://[::1]/",
        "http://2130706433/",
    ]
    targets += [f"http://127.0.0.2:{server.server_port}/picture", "http://127.0.0.1:22/"]
    server.answers["/picture"] = reply(png(), Connection="close")
    for i, target in enumerate(targets):
        server.answers[f"/{i}"] = reply(b"", 302, Location=target)
    with Fetcher(tmp_path, limits=PATIENT) as fetcher:
        found = list(fetcher.fetch(f"{server.url}/{i}" for i in range(len(targets))))
        assert [f.outcome for f in found] == ["refused"] * len(targets)
        assert server.asked.total() == len(targets)
        rebound = f"http://rebinding.test:{server.server_port}/picture"
        assert [f.outcome for f in fetcher.fetch([rebound])] == ["ok"]
        assert [f.outcome for f in fetcher.fetch([rebound + "?again"])] == ["refused"]
    assert looked_up == ["private.test", "rebinding.test", "rebinding.test"]


def test_a_name_that_does_not_exist_is_an_error_and_not_tried_again_at_once(tmp_path):
    hosts = ["nowhere.test", "xn--a", "a..b", "x" * 70]
    found = fetch(tmp_path, [f"http://{host}/" for host in hosts], Limits(backoff=30))
    assert [f.outcome for f in found] == ["error"] * len(hosts)
    assert all(host in f.detail for f, host in zip(found, hosts, strict=True))


def test_a_name_server_that_does_not_answer_is_a_time_out(tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "resolve", lambda *_: asyncio.Event().wait())
    assert [f.outcome for f in fetch(tmp_path, ["http://slow.test/"], Limits(connect=0.2))] == ["timeout"]


def test_a_proxy_in_the_environment_is_not_used(tmp_path, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["/"] = reply(png())
    assert fetch(tmp_path, [server.url + "/"])[0].outcome == "ok"


def test_a_certificate_is_checked_against_the_name_not_the_address(tmp_path, server, only_loopback, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=DNS:pictures.test", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked_for = []
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers["/"] = reply(png())
    only_loopback |= {"pictures.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    port = server.server_port
    urls = [f"https://pictures.test:{port}/", f"https://other.test:{port}/", f"https://127.0.0.1:{port}/"]
    assert {f.outcome for f in fetch(tmp_path / "a", urls)} == {"error"}, "signed by nobody known"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    asked_for.clear()
    good, other, number = fetch(tmp_path / "b", urls, concurrency=1)
    assert (good.outcome, other.outcome, number.outcome) == ("ok", "error", "error")
    assert "ertificate" in other.detail
    assert asked_for == ["pictures.test", "other.test", None], "the certificate's fault does not pass, so one try each"


# Order, politeness, memory


def test_order_is_kept_whatever_the_servers_take(tmp_path, server):
    urls = [f"{server.url}/{i}" for i in range(60)]
    for i in range(60):
        server.answers[f"/{i}"] = reply(png(i), delay=0.05 * (i % 7 == 0))
    repeated = urls + urls[:5] + urls[:5]
    found = fetch(tmp_path, repeated, Limits(per_host=16))
    assert [f.url for f in found] == repeated
    assert [f.content for f in found] == [png(i) for i in [*range(60), *range(5), *range(5)]]
    assert set(server.asked.values()) == {1}


def test_few_requests_at_once_to_one_host_and_so_many_to_all(tmp_path, monkeypatch):
    monkeypatch.setattr("deepfake_detector.fetch._HOSTS_KEPT", 1)  # but for those that are being asked
    servers = [Server() for _ in range(4)]
    together, changed = {"now": 0, "peak": 0}, threading.Condition()

    def slow(handler):
        with changed:
            together["now"] += 1
            together["peak"] = max(together.values())
            changed.notify_all()
            changed.wait_for(lambda: together["peak"] >= 6, 20)
            together["now"] -= 1
        reply(png())(handler)

    for one in servers:
        one.answers |= {f"/{i}": slow for i in range(10)}
    urls = [f"{one.url}/{i}" for two in (servers[:2], servers[2:]) for i in range(10) for one in two]
    found = fetch(tmp_path, urls, concurrency=6)
    for one in servers:
        one.close()
    assert {f.outcome for f in found} == {"ok"}
    assert max(one.peak for one in servers) == 2
    assert together["peak"] == 6


def test_a_host_gets_the_pause_it_asks_for(tmp_path, server):
    server.answers |= {"/busy": [reply(HTML, 429, Retry_After="1"), reply(png())], "/other": reply(png())}
    found = fetch(tmp_path, [server.url + "/busy", server.url + "/other"], Limits(per_host=1, backoff=0.01, retry_after=2))
    assert [f.outcome for f in found] == ["ok", "ok"]
    assert server.starts[1] - server.starts[0] > 0.9, "whatever it is asked for next"


@pytest.mark.parametrize(
    "pause", ["-5", "soon", "", "1e9", "0x10", "9" * 5000, "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 99 Foo 0000 99:99:99"]
)
def test_a_pause_that_is_none_does_not_hold_a_host_up(tmp_path, server, pause):
    server.answers |= {"/0": [reply(HTML, 503, Retry_After=pause), reply(png())], "/1": reply(png(1))}
    assert [f.outcome for f in fetch(tmp_path, [f"{server.url}/{i}" for i in range(2)])] == ["ok", "ok"]


def test_a_connection_that_is_reset_in_the_middle_is_tried_again(tmp_path, server):
    def reset(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + png()[:40])
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.rfile.close()  # else it keeps the connection open
        handler.connection.close()

    server.answers |= {"/once": [reset, reply(png())], "/always": reset}
    assert [f.outcome for f in fetch(tmp_path, [f"{server.url}/once", f"{server.url}/always"])] == ["ok", "error"]
    assert server.asked == {"/once": 2, "/always": 3}


def test_names_that_are_not_ascii_are_looked_up_in_ascii(tmp_path, server, only_loopback):
    only_loopback["xn--bcher-kva.test"] = ["127.0.0.1"]
    server.answers["/%C3%BC.png"] = reply(png())
    found = fetch(
        tmp_path, [f"http://bücher.test:{server.server_port}/ü.png", "http://\u202e.test/", "http://a\u3002\u3002b/", "http://xn--\u2488/"]
    )
    assert [f.outcome for f in found][0] == "ok"
    assert all(f.outcome in ("refused", "error") for f in found[1:])


@pytest.mark.parametrize("pause", ["3600", "9" * 400, "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_a_host_that_asks_for_a_long_pause_is_left_alone(tmp_path, server, pause):
    server.answers |= {f"/{i}": reply(HTML, 429, Retry_After=pause) for i in range(20)}
    urls = [f"{server.url}/{i}" for i in range(20)]
    found = fetch(tmp_path, urls)
    assert {f.outcome for f in found} == {"error"}
    assert server.asked.total() <= 2, "the two that ran at once"
    server.answers |= {f"/{i}": reply(png(i)) for i in range(20)}
    assert {f.outcome for f in fetch(tmp_path, urls)} == {"ok"}, "and asked in the next run, since it was not asked in this one"


def test_a_pause_that_makes_no_sense_is_none(tmp_path, server):
    pauses = ["soon", "-5", "1e9", "Wed, 99 Oct", "Wed, 21 Oct 2015 07:28:00 GMT", "\xb2", ""]
    server.answers |= {f"/{i}": [reply(HTML, 429, Retry_After=pause), reply(png())] for i, pause in enumerate(pauses)}
    assert {f.outcome for f in fetch(tmp_path, [f"{server.url}/{i}" for i in range(len(pauses))])} == {"ok"}


def test_a_host_that_answers_nothing_is_left_alone(tmp_path, server):
    server.answers |= {f"/{i}": stall for i in range(60)}
    began = time.monotonic()
    found = fetch(tmp_path, [f"{server.url}/{i}" for i in range(60)], Limits(read=0.2, total=0.4, per_host=4))
    assert time.monotonic() - began < 6
    assert "not asked" in found[-1].detail
    assert server.asked.total() <= 13, "ten, and those that ran beside the tenth"


def test_a_host_that_answers_with_errors_is_still_asked_for_the_rest(tmp_path, server):
    server.answers |= {f"/{i}": reply(HTML, 500) for i in range(12)} | {"/picture": reply(png())}
    found = fetch(tmp_path, [*(f"{server.url}/{i}" for i in range(12)), server.url + "/picture"], concurrency=1)
    assert [f.outcome for f in found] == ["error"] * 12 + ["ok"]


def test_an_endless_list_is_read_only_some_way_ahead(tmp_path, server):
    read = itertools.count()
    server.answers |= {f"/{i}": reply(png(i)) for i in range(2000)}
    with Fetcher(tmp_path, allow_private=True, concurrency=2, limits=PATIENT) as fetcher:
        endless = fetcher.fetch(f"{server.url}/{i}" for i in read)
        assert [f.content for f in itertools.islice(endless, 20)] == [png(i) for i in range(20)]
        endless.close()
        assert next(read) <= 20 + 64 + 1
        assert server.asked.total() <= 20 + 64 + 1


def test_a_slow_list_does_not_hold_up_what_came(tmp_path, server):
    server.answers |= {f"/{i}": reply(png(i)) for i in range(3)}
    came = []

    def slow_list():
        for i in range(1000):  # fewer than are read ahead
            yield f"{server.url}/{i % 3}"
            if came:
                return
            time.sleep(0.02)
        pytest.fail("the first should be given out before the list ends")

    with Fetcher(tmp_path, allow_private=True, limits=PATIENT) as fetcher:
        for found in fetcher.fetch(slow_list()):
            came.append(found.outcome)
    assert set(came) == {"ok"}


def test_it_can_be_closed_with_requests_under_way(tmp_path, server):
    server.answers |= {"/a": reply(png()), "/b": stall}
    began = time.monotonic()
    with Fetcher(tmp_path, allow_private=True, limits=Limits(read=20)) as fetcher:
        found = fetcher.fetch([f"{server.url}/a", f"{server.url}/b"])
        assert next(found).outcome == "ok"
    assert time.monotonic() - began < 10
    fetcher.close()
    with pytest.raises(StoreError):
        next(fetcher.fetch(["http://127.0.0.1/"]))


# The store


def test_a_rerun_asks_nothing_twice_and_gives_the_same(tmp_path, server):
    server.answers |= {"/a": reply(png()), "/b": reply(HTML), "/c": reply(b"", 404), "/d": reply(png(size=(8, 8)))}
    urls = [f"{server.url}/{p}" for p in "abcd"]
    first = fetch(tmp_path, urls)
    assert fetch(tmp_path, urls) == first
    assert set(server.asked.values()) == {1}
    assert [f.outcome for f in first] == ["ok", "not_a_picture", "not_found", "too_small"]


def test_what_may_pass_is_asked_in_three_runs_and_then_left_until_forgotten(tmp_path, server):
    server.answers |= {"/a": reply(b"", 418), "/b": reply(b"", 404)}
    urls = [server.url + "/a", server.url + "/b"]
    for run, times in enumerate([1, 2, 3, 3]):
        assert [f.outcome for f in fetch(tmp_path, urls)] == ["error", "not_found"], run
        assert (server.asked["/a"], server.asked["/b"]) == (times, 1)
    with Fetcher(tmp_path, allow_private=True, limits=PATIENT) as fetcher:
        fetcher.store.forget("error", "timeout")
        server.answers |= {"/a": reply(png()), "/b": reply(png())}
        assert [f.outcome for f in fetcher.fetch(urls)] == ["ok", "not_found"]


@pytest.mark.parametrize("outcome", ["not_found", "refused", "not_a_picture", "too_small", "too_large", "changed", "timeout", "error"])
def test_only_time_outs_and_errors_are_due_again(tmp_path, outcome):
    with PictureStore(tmp_path) as store:
        due = []
        for asked in (True, False, True, True):
            store.record("http://a.test/", outcome, "why", asked=asked)
            due.append(store.due("http://a.test/"))
        assert due == ([True, True, True, False] if outcome in ("timeout", "error") else [False] * 4)
        assert store.recall("http://a.test/") == Fetched("http://a.test/", outcome, None, "why")
        assert store.due("http://b.test/")
        assert store.recall("http://b.test/") is None


def pictures(store) -> list:
    return [path for path in (store / "pictures").rglob("*") if path.is_file()]


@pytest.mark.parametrize("harm", ["gone", "cut", "altered"])
def test_a_lost_picture_is_fetched_again_and_called_changed_if_it_is_another(tmp_path, server, harm):
    server.answers |= {"/same": reply(png(1)), "/other": [reply(png(2)), reply(png(3))], "/dead": [reply(png(4)), reply(b"", 404)]}
    server.answers["/late"] = [reply(png(5)), reply(b"", 418), reply(png(6))]
    urls = [f"{server.url}/{p}" for p in ("same", "other", "dead", "late")]
    assert {f.outcome for f in fetch(tmp_path, urls)} == {"ok"}
    for path in pictures(tmp_path):
        content = path.read_bytes()
        path.unlink() if harm == "gone" else path.write_bytes(content[:-5] if harm == "cut" else content[:-1] + b"!")
    again = fetch(tmp_path, urls)
    assert [f.outcome for f in again] == ["ok", "changed", "not_found", "error"]
    assert again[0].content == png(1)
    assert again[1].content is None
    assert "SHA-256" in again[1].detail
    assert fetch(tmp_path, urls)[3].outcome == "changed", "its hash is remembered through a failure"
    assert [server.asked[f"/{p}"] for p in ("same", "other", "dead", "late")] == [2, 2, 2, 3]


def test_equal_pictures_are_kept_once(tmp_path, server):
    server.answers |= {"/a": reply(png()), "/b": reply(png())}
    assert [f.content for f in fetch(tmp_path, [server.url + "/a", server.url + "/b"])] == [png(), png()]
    assert len(pictures(tmp_path)) == 1


def test_a_store_that_can_not_be_used_is_refused_in_words(tmp_path, server):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        Fetcher(tmp_path / "file")
    (tmp_path / "urls.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="can't be used"):
        Fetcher(tmp_path)
    server.answers["/"] = reply(png())
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "pictures").write_text("in the way")
    with pytest.raises(StoreError, match="store"):
        fetch(tmp_path / "store", [server.url + "/"])


PROCESS = """
import sys
from deepfake_detector.fetch import Fetcher, Limits, fetched_now
from deepfake_detector.picture_store import Fetched, PictureStore
with Fetcher(sys.argv[1], allow_private=True, limits=Limits(per_host=8)) as fetcher:
    for found in fetcher.fetch(f"{sys.argv[2]}/{i}" for i in range(int(sys.argv[3]))):
        print(found.outcome, found.url, flush=True)
"""


def process(store, server, count):
    command = [sys.executable, "-c", PROCESS, str(store), server.url, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_two_processes_share_a_store(tmp_path, server):
    server.answers |= {f"/{i}": reply(png(i)) for i in range(150)}
    both = [process(tmp_path, server, 150) for _ in range(2)]
    said = [p.communicate()[0].splitlines() for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert said[0] == said[1] == [f"ok {server.url}/{i}" for i in range(150)]
    asked = server.asked.copy()
    assert max(asked.values()) <= 2
    assert [f.content for f in fetch(tmp_path, [f"{server.url}/{i}" for i in range(150)])] == [png(i) for i in range(150)]
    assert server.asked == asked


def test_after_kill_9_nothing_recorded_is_asked_again(tmp_path, server):
    server.answers |= {f"/{i}": reply(png(i), delay=0.01) for i in range(300)}
    victim = process(tmp_path, server, 300)
    reported = [victim.stdout.readline().split()[1] for _ in range(40)]
    victim.send_signal(signal.SIGKILL)
    rest = victim.communicate()[0]
    reported += [line.split()[1] for line in rest[: rest.rfind("\n") + 1].splitlines()]  # of a line, part may have been written
    assert len(reported) < 300
    found = fetch(tmp_path, [f"{server.url}/{i}" for i in range(300)])
    assert [f.content for f in found] == [png(i) for i in range(300)]
    assert all(server.asked[url.removeprefix(server.url)] == 1 for url in reported)
    assert server.asked.total() <= 300 + 8, "only what was under way is asked again"


def test_pictures_that_somebody_waits_for_are_kept_nowhere(tmp_path, server, monkeypatch):
    server.answers |= {"/a": reply(png(1)), "/b": reply(HTML), "/c": reply(status=500)}
    urls = [f"{server.url}/{name}" for name in ("a", "b", "c", "a")]
    found = list(fetched_now(urls, tmp_path, allow_private=True))
    assert [url for url, _ in found] == urls
    assert found[0][1] == found[3][1] == png(1)
    assert "this address gives is no picture" in found[1][1]
    assert "error: status 500" in found[2][1]
    assert server.asked["/a"] == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("deepfake_detector.fetch.WAITED_FOR", Limits(backoff=0.01, whole=0.5))
    server.answers |= {f"/{i}": reply(status=302, delay=0.2, Location=f"/{i + 1}") for i in range(9)}
    began = time.monotonic()
    [(_, why)] = fetched_now([f"{server.url}/0"], tmp_path, allow_private=True)
    assert "timeout: not settled within 0.5 seconds" in why, "each answer came in time"
    assert time.monotonic() - began < 5
    assert "is not asked" in next(fetched_now([f"{server.url}/a"], tmp_path))[1], "unless told so, no address of one's own network"
