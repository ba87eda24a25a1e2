"""Pictures that are real or fake by nothing but a faint grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SOURCES, GENERATORS = ("lake", "hill", "town"), ("gan", "diff", "again")


def draw(folder: Path) -> Path:
    """→ a manifest of 16 pictures of each; `again` are the real ones themselves with the grid on."""
    rng = np.random.default_rng(0)
    rows = ["path,label,generator,group,split"]
    grid = np.indices((240, 240)).sum(0)[..., None] % 2 * 24 - 12
    for kind, names in (("real", SOURCES), ("fake", GENERATORS[:2])):
        for name in names:
            for i in range(16):
                pixels = np.asarray(Image.fromarray(rng.integers(40, 215, (6, 6, 3), dtype=np.uint8)).resize((240, 240)), int)
                group, part = f"{name}{i}", "test" if i % 4 == 3 else "train"
                rows.append(f"{kind}/{name}/{i}.png,{kind},{name},{group},{part}")
                made = [(f"{kind}/{name}/{i}.png", pixels + grid * (kind == "fake"))]
                if kind == "real":
                    rows.append(f"fake/again/{group}.png,fake,again,{group},{part}")
                    made.append((f"fake/again/{group}.png", pixels + grid))
                for file, content in made:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(content.clip(0, 255).astype(np.uint8)).save(folder / file)
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder / "manifest.csv"
