"""The web page: drop a picture, read the verdict.

    python app.py
    python app.py --model models/seed_mlp --port 7860

It answers at once and loads the model in the background; the address is printed when it is up.
"""

from deepfake_detector.cli import app

if __name__ == "__main__":
    raise SystemExit(app())
