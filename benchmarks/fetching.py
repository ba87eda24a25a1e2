"""What fetching many at once gains: the fetcher against a plain loop of httpx, from local servers that each answer after a while.

    python benchmarks/fetching.py [--hosts 32] [--pictures 640] [--latency 0.1] [--rounds 3]

Every port of this machine is a host of its own. The fetcher decodes, hashes and keeps each picture; the loop does not.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection

from _input import at_least_one


def serve(hosts: int, latency: float, say: Connection) -> None:
    """Serve one noisy 512 x 384 JPEG on so many ports for ever; says the ports."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((512, 384)).save(buffer, "JPEG", quality=90)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(buffer.getvalue()) + buffer.getvalue()

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(latency)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        servers = [await asyncio.start_server(host, "127.0.0.1", 0) for _ in range(hosts)]
        say.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.Event().wait()

    asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=at_least_one, default=32)
    parser.add_argument("--pictures", type=at_least_one, default=640)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds until a server answers")
    parser.add_argument("--rounds", type=at_least_one, default=3)
    arguments = parser.parse_args()

    import httpx

    from deepfake_detector.fetch import Fetcher

    hear, say = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(arguments.hosts, arguments.latency, say), daemon=True)
    server.start()
    ports = hear.recv()
    urls = [f"http://127.0.0.1:{ports[i % len(ports)]}/{i}.jpg" for i in range(arguments.pictures)]
    few = urls[: max(1, arguments.pictures // 10)]

    def fetcher(store: str) -> float:
        began = time.perf_counter()
        with Fetcher(store, allow_private=True) as fetching:
            counts = {found.outcome for found in fetching.fetch(urls)}
        if counts != {"ok"}:
            sys.exit(f"not every picture came: {counts}")
        return len(urls) / (time.perf_counter() - began)

    def loop() -> float:
        began = time.perf_counter()
        with httpx.Client(trust_env=False) as client:
            for url in few:
                client.get(url).raise_for_status()
        return len(few) / (time.perf_counter() - began)

    rates: dict[str, list[float]] = {"first": [], "again": [], "loop": []}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as store:
            rates["first"].append(fetcher(store))
            rates["again"].append(fetcher(store))
        rates["loop"].append(loop())
    server.terminate()
    first, again, plain = (statistics.median(r) for r in rates.values())
    print(
        f"{arguments.pictures} pictures, {arguments.hosts} hosts that answer after {arguments.latency:g} s; medians of {arguments.rounds}:"
    )
    print(f"fetcher {first:.0f} pictures/s, from its store {again:.0f}/s; httpx in a loop {plain:.1f}/s")
    ratios = ", ".join(f"{a / b:.0f}" for a, b in zip(rates["first"], rates["loop"], strict=True))
    print(f"{first / plain:.0f} times faster (in each round: {ratios})")


if __name__ == "__main__":
    main()
