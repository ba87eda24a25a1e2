"""Import torchvision where its compiled operators are missing, open_clip without what our towers have no use for, and skops without torch.

With a CPU-only torch beside the CUDA wheel of torchvision, open_clip, timm, transformers' image processors and peft import torchvision
at their first line, and there it dies with `operator torchvision::nms does not exist`. Picture resizing needs none of those operators, so
they are declared, for whoever imports them, and the import is tried again. A native install never reaches that path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def import_torchvision() -> None:
    """Make `import torchvision` work in this process; call it before importing transformers or diffusers.

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


def import_open_clip() -> ModuleType:
    """open_clip, without the second that timm and transformers take to load, which have towers that none of ours is."""
    import_torchvision()
    with _absent("timm", "transformers"):
        import open_clip
    return open_clip


def import_skops() -> ModuleType:
    """skops.io, without the second that PyTorch takes to load, and the memory, where nothing else needs it.

    skops asks for a list of scikit-learn's estimators, and what makes it imports all of its packages, also one that holds none but imports
    torch.
    """
    if "torch" in sys.modules:
        import skops.io
    else:
        with _absent("sklearn.externals.array_api_compat.torch"):
            import skops.io
    return skops.io


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """For as long as this lasts, nobody in this process can import these, but who has them already keeps them."""
    spared = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(spared))  # to import None is an ImportError, which who can do without passes over
    try:
        yield
    finally:
        for name in spared:
            sys.modules.pop(name, None)  # by another thread perhaps
