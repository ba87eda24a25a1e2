"""Pictures → a table of embeddings in embeddings/.

    python extract_embeddings.py DATA --encoder clip_vit_b16 --out embeddings/NAME.csv

Prints the rows written, what the cache knew already, and what was skipped and why.
"""

from deepfake_detector.cli import extract

if __name__ == "__main__":
    raise SystemExit(extract())
