"""What benchmarks share: words in place of a traceback where what one is given won't do."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from deepfake_detector.errors import DetectorError  # noqa: E402
from deepfake_detector.files import in_one_line  # noqa: E402


def in_words(main: Callable[[], int | None]) -> Callable[[], int | None]:
    """A script's `main` that ends as the command lines do where its input won't do: in one line, with exit status 2.

    That is where something is raised on purpose, where a file or folder that was named can't be used, or a program that was started failed.
    """

    @functools.wraps(main)
    def run() -> int | None:
        try:
            return main()
        except DetectorError as error:
            said = str(error)
        except OSError as error:
            if not any(one in str(error.filename or "") for one in sys.argv[1:]):  # a fault of the script's own
                raise
            said = f"{error.filename}: {error.strerror}. Correct the path, or choose another."
        except subprocess.CalledProcessError as error:
            print(error.stderr or "", end="", file=sys.stderr)  # what was not captured has been seen
            said = f"`{' '.join(map(str, error.cmd))}` failed, for the reason above."
        print(in_one_line(f"{Path(sys.argv[0]).name}: error: {said}"), file=sys.stderr)
        raise SystemExit(2)

    return run
