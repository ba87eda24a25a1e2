"""Import torchvision where its compiled operators are missing, and skops without torch.

With a CPU-only torch beside the CUDA wheel of torchvision, open_clip, timm, transformers' image processors and peft import torchvision
at their first line, and there it dies with `operator torchvision::nms does not exist`. Picture resizing needs none of those operators, so
they are declared (NMS with a working CPU kernel) and the import is tried again. A native install never reaches that path.
"""

from __future__ import annotations

import sys
from types import ModuleType


def import_torchvision() -> None:
    """Make `import torchvision` work in this process; call it before importing open_clip or transformers.

    Any failure but the missing operators is passed on unchanged.
    """
    import torch

    try:
        import torchvision  # noqa: F401

        return
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[module]
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.impl("torchvision::nms", "CPU")(_nms)
    import torchvision  # noqa: F401


def _nms(dets, scores, iou_threshold: float):
    """Greedy non-maximum suppression. dets: (n, 4) as x1 y1 x2 y2; returns kept indices, best score first."""
    import torch

    areas = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    order, kept = scores.argsort(descending=True), []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        top_left = torch.maximum(dets[best, :2], dets[rest, :2])
        bottom_right = torch.minimum(dets[best, 2:], dets[rest, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        order = rest[overlap / (areas[best] + areas[rest] - overlap) <= iou_threshold]
    return torch.stack(kept) if kept else order


def import_skops() -> ModuleType:
    """skops.io, without the second that PyTorch takes to load, and the memory, where nothing else needs it.

    skops asks for a list of scikit-learn's estimators, and what makes it imports all of its packages, also one that holds none but imports
    torch. For as long as that lasts, nobody in this process can import that one.
    """
    unwanted = "sklearn.externals.array_api_compat.torch"
    spared = not {"skops.io", "torch"} & sys.modules.keys()
    if spared:
        sys.modules[unwanted] = None  # to import None is an ImportError, and passed over
    try:
        import skops.io
    finally:
        if spared:
            sys.modules.pop(unwanted, None)  # by another thread perhaps
    return skops.io
