"""How long a visitor waits: from `python app.py` to the first verdict, for each later picture, and for one seen before.

    python benchmarks/page_latency.py DATA [--model models/default …]

DATA is a folder of pictures, of which 13 are used. Needs the encoder's weights in the cache folder.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
PORT = 7980


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", action="append", default=[], help="as of app.py")
    arguments = parser.parse_args()

    from gradio_client import Client, handle_file

    from deepfake_detector.datasets.folder import picture_files

    pictures = random.Random(0).sample(picture_files(arguments.data), 13)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(PORT), "--cache", f"{folder}/c.sqlite"]
        command += [f"--model={model}" for model in arguments.model]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    client = Client(f"http://127.0.0.1:{PORT}", verbose=False)
                    break
                except Exception:
                    if server.poll() is not None:
                        sys.exit("app.py ended; run it by hand to see why")
                    time.sleep(0.1)
            up = time.perf_counter() - began
            client.predict(handle_file(pictures[0]), api_name="/judge")
            first = time.perf_counter() - began

            def asked(picture: str) -> float:
                start = time.perf_counter()
                client.predict(handle_file(picture), api_name="/judge")
                return time.perf_counter() - start

            later = [asked(p) for p in pictures[1:]]
            again = [asked(p) for p in pictures[1:]]
        finally:
            server.terminate()
            server.wait()
    print(f"page up after {up:.1f} s, first verdict {first:.1f} s after `python app.py`")
    print(f"a new picture: median {statistics.median(later):.2f} s, slowest {max(later):.2f} s ({len(later)} pictures)")
    print(f"the same again: median {statistics.median(again):.3f} s, slowest {max(again):.3f} s")


if __name__ == "__main__":
    main()
