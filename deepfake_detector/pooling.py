"""From the scores of a clip's frames to one score of the clip: the mean of their log-odds."""

from __future__ import annotations

import numpy as np
import pandas as pd

_EDGE = 1e-6  # a frame's certainty ends here, so that one frame alone can't decide a clip


def pool(p_fake: np.ndarray) -> float:
    """(frames,) probabilities of being fake → that of the clip."""
    p = np.clip(np.asarray(p_fake, np.float64), _EDGE, 1 - _EDGE)
    return float(1 / (1 + np.exp(-np.mean(np.log(p) - np.log1p(-p)))))


def by_video(rows: pd.DataFrame, p_fake: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and scores of a table → one row a clip, in the order of their first frames, and (clips,) pooled scores.

    Pictures that belong to no clip are left out. Of several faces in a frame the most suspicious one counts.
    """
    framed = rows.assign(p_fake=p_fake)[(rows["video"] != "").to_numpy()]
    frames = framed.groupby(["video", "path"], sort=False).agg(p_fake=("p_fake", "max")).reset_index()
    pooled = frames.groupby("video", sort=False)["p_fake"].agg(lambda p: pool(p.to_numpy()))
    clips = framed.drop_duplicates("video").reset_index(drop=True)
    return clips.drop(columns="p_fake"), pooled.loc[clips["video"]].to_numpy(np.float64)
