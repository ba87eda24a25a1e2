"""How long a visitor waits: from `python app.py` to the first verdict, for each later picture, and for one seen before.

    python benchmarks/page_latency.py DATA [--model models/default …]

DATA is a folder of pictures, of which 13 are used. They are sent to the API, which judges as the page does, and waited for one by
one. The map of their parts, which the page draws after the verdict, is timed without a server. Needs the encoder's weights in the
cache folder.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from _input import in_words

ROOT = Path(__file__).parent.parent
PORT, PICTURES = 7980, 13


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", action="append", default=[], help="as of app.py")
    arguments = parser.parse_args()

    import httpx

    from deepfake_detector.datasets.folder import files_below
    from deepfake_detector.detect import Detector
    from deepfake_detector.embed import read_file
    from deepfake_detector.errors import DetectorError

    for model in arguments.model:
        if not Path(model).is_dir():  # the server would only say that it could not start
            parser.error(f"--model should be a folder that train_classifier.py made; there is none at {model}.")
    found = files_below(arguments.data)[0]
    if len(found) < PICTURES:
        parser.error(f"{arguments.data} should hold at least {PICTURES} pictures; there are {len(found)}. Name a folder with more.")
    pictures = random.Random(0).sample(found, PICTURES)
    page = f"http://127.0.0.1:{PORT}"

    def ask(picture: str) -> None:
        with open(picture, "rb") as file:
            answer = httpx.post(f"{page}/api/judge", files={"file": file}, timeout=60)
        if answer.is_error:
            raise DetectorError(f"The page has no verdict on {picture}: {answer.json()['error']}")

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(PORT), "--cache", f"{folder}/c.sqlite"]
        command += [f"--model={model}" for model in arguments.model]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    httpx.get(page).raise_for_status()
                    break
                except httpx.HTTPError:
                    if server.poll() is not None:
                        sys.exit("app.py ended; run it by hand to see why")
                    time.sleep(0.1)
            up = time.perf_counter() - began
            ask(pictures[0])
            first = time.perf_counter() - began

            later = [seconds(partial(ask, p)) for p in pictures[1:]]
            again = [seconds(partial(ask, p)) for p in pictures[1:]]
        finally:
            server.terminate()
            server.wait()
    print(f"page up after {up:.1f} s, first verdict {first:.1f} s after `python app.py`")
    print(f"a new picture: median {statistics.median(later):.2f} s, slowest {max(later):.2f} s ({len(later)} pictures)")
    print(f"the same again: median {statistics.median(again):.3f} s, slowest {max(again):.3f} s")
    detector = Detector(*arguments.model[:1])
    detector.warm()
    maps = [seconds(partial(detector.parts, read_file(picture))) for picture in pictures[1:]]
    print(f"the map of its parts: median {statistics.median(maps):.2f} s, slowest {max(maps):.2f} s")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
