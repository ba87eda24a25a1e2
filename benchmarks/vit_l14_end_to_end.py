"""ViT-L/14's whole way, pictures → CSV → Keras MLP → verdict, with random weights where the published ones can't be had.

    python benchmarks/vit_l14_end_to_end.py DATA [--pictures 64]

The answers mean nothing; the sizes, the columns, the training and the time do. Writes 1.2 GB of random weights to a temporary folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _input import at_least_one, copied, half_of_each, in_words

ROOT = Path(__file__).parent.parent


def write_random_weights(file: Path) -> None:
    """The state of a freshly initialised open_clip ViT-L-14-quickgelu, image tower only."""
    from deepfake_detector.torch_compat import import_open_clip

    open_clip = import_open_clip()
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    tower = open_clip.create_model("ViT-L-14-quickgelu", load_weights=False).visual
    save_file({f"visual.{name}": tensor.contiguous() for name, tensor in tower.state_dict().items()}, file)


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--pictures", type=at_least_one, default=64)
    arguments = parser.parse_args()
    chosen = half_of_each(arguments.data, arguments.pictures)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "vit_l14.safetensors"
        write_random_weights(weights)
        copied(chosen, Path(folder) / "d")
        for command in (
            ["extract_embeddings.py", "d", "--out", "embeddings/d.csv", "--weights", str(weights)],
            ["train_classifier.py", "embeddings/d.csv", "--out", "models/d"],
            ["evaluate.py", "--model", "models/d", "--data", "embeddings/d.csv"],
        ):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, str(ROOT / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True, check=False
            )
            print(f"--- {' '.join(command[:4])} … {time.perf_counter() - began:.1f} s, exit status {done.returncode}")
            print(done.stdout if done.returncode == 0 else done.stderr)


if __name__ == "__main__":
    main()
