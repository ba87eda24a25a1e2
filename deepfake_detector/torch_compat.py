"""Import torchvision where its compiled operators are missing, and skops without torch.

With a CPU-only torch beside the CUDA wheel of torchvision, open_clip, timm, transformers' image processors and peft import torchvision
at their first line, and there it dies with `operator torchvision::nms does not exist`. Picture resizing needs none of those operators, so
they are declared, for whoever imports them, and the import is tried again. A native install never reaches that path.
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
    import torchvision  # noqa: F401


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
