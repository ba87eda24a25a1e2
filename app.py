"""The web page: drop a picture, read the verdict.

    python app.py
    python app.py --model models/seed_mlp --port 7860

It answers at once and loads the model in the background; the address is printed when it is up.
"""

import os
import sys

from deepfake_detector.cli import app

if __name__ == "__main__":
    status = app()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # what is still being judged then runs in libraries' own threads, and to take Python apart under them would abort
