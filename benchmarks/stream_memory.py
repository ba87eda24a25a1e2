"""How much memory a long stream takes: ELSA-D3 with 20,000 rows of tiny pictures, 100,000 pictures in all (target: none that grows).

    python benchmarks/stream_memory.py

Writes Parquet shards with ELSA-D3's columns, serves the real pictures on this machine, extracts everything with the encoder
colour_histogram, and prints the resident memory after each tenth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from _input import at_least_one

SHARD = 5000  # rows


class Web(BaseHTTPRequestHandler):
    """Every address is a picture of its own, but for each tenth, which is gone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        number = int(self.path[1:])
        content = b"" if number % 10 == 0 else picture(number)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def picture(number: int) -> bytes:
    """A tiny BMP; every number another one."""
    head = b"BM" + (54 + 768).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    head += (16).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    return head + number.to_bytes(4, "little") * 192


def write_shards(folder: Path, url: str, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.elsa import FEATURES, MODELS

    for first in range(0, rows, SHARD):
        numbers = range(first, min(first + SHARD, rows))
        columns = {name: [None] * len(numbers) for name in FEATURES}
        columns |= {"id": [f"{n:09}" for n in numbers], "url": [f"{url}/{n}" for n in numbers]}
        for i, model in enumerate(MODELS):
            columns[f"model_gen{i}"] = [model] * len(numbers)
            columns[f"image_gen{i}"] = [{"bytes": picture(rows * (i + 1) + n), "path": None} for n in numbers]
        shard = pa.table(
            [pa.array(columns[name], FEATURES.arrow_schema.field(name).type) for name in FEATURES], schema=FEATURES.arrow_schema
        )
        pq.write_table(shard, folder / f"train-{first // SHARD:05}.parquet", row_group_size=100)


def resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=at_least_one, default=20_000)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
        server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        from deepfake_detector.cache import Cache
        from deepfake_detector.datasets.elsa_d3 import scan
        from deepfake_detector.embed import Embedder
        from deepfake_detector.encoders.colour_histogram import Encoder
        from deepfake_detector.extract import extract

        (folder / "shards").mkdir()
        write_shards(folder / "shards", f"http://127.0.0.1:{server.server_port}", arguments.rows)
        listing = scan(str(folder / "shards"), real_pictures=str(folder / "store"), allow_private=True)
        pictures = arguments.rows * 49 // 10
        seen, began = 0, time.perf_counter()

        def progress(one: int) -> None:
            nonlocal seen
            seen += one
            if one and seen % max(1, pictures // 10) == 0:
                print(f"{seen:8} pictures, {time.perf_counter() - began:6.0f} s: {resident():6.0f} MiB", flush=True)

        with Cache(folder / "cache.sqlite") as cache:
            done = extract(listing, Embedder(Encoder(), cache=cache), str(folder / "t.parquet"), progress=progress)
        size = sum(shard.stat().st_size for shard in (folder / "shards").iterdir()) / 2**20
        print(f"{done.rows} rows out of {size:.0f} MiB of shards; real pictures: {dict(listing.facts['real pictures'])}")
        server.shutdown()


if __name__ == "__main__":
    main()
