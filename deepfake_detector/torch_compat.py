"""Make PyTorch's relatives load where parts of them are missing, and without what nobody here needs and what takes seconds.

With a CPU-only torch beside the CUDA wheel of torchvision, open_clip, timm, transformers' image processors and peft import torchvision
at their first line, and there it dies with `operator torchvision::nms does not exist`. Picture resizing needs none of those operators, so
they are declared, for whoever imports them, and the import is tried again. A native install never reaches that path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.overrides import TorchFunctionMode


def import_torchvision() -> None:
    """Make `import torchvision` work in this process; call it before importing transformers or diffusers.

    Any failure but the missing operators is passed on unchanged. torch's compiler, which takes a second to load, is not loaded for it.
    """
    import torch

    with _compiling_nothing():
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


def undrawn() -> TorchFunctionMode:
    """A context in which the weights of a new module are whatever lies in memory: no time goes into random ones that a file will replace.

    To build it on the meta device instead would load torch's compiler, which takes longer than the drawing.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__module__", None) == "torch.nn.init":
                return kwargs["tensor"]
            if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
                return args[0]
            return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))

    return Undrawn()


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
def _compiling_nothing() -> Iterator[None]:
    """For as long as this lasts torch's compiler, which torchvision asks about an operator of its own, says that it compiles nothing."""
    names = "torch._dynamo", "torch._dynamo.utils"
    if names[0] in sys.modules:
        yield
        return
    compiler, utils = map(ModuleType, names)
    utils.is_compile_supported = lambda device: False
    sys.modules.update(zip(names, (compiler, utils), strict=True))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]  # who wants to compile something loads the compiler itself


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
