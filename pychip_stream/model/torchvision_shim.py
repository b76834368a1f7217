"""Import torchvision where torch was built without its operators.

A CPU-only torch paired with a torchvision built for another one lacks the compiled
`torchvision::nms`, and the import fails while it registers the fake kernels of operators that
do not exist (pytorch/vision#9085). Declaring the two schemas first is enough: ResNets use
neither.
"""

import importlib
from types import ModuleType

import torch

from pychip_stream.errors import EncoderError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def models() -> ModuleType:
    """Return `torchvision.models`, importable whatever torch it was built for.

    Raises
    ------
    EncoderError
        If torchvision is missing or broken beyond the missing operators.
    """
    try:
        return importlib.import_module("torchvision.models")
    except ImportError as error:
        raise EncoderError(
            f"torchvision cannot be imported ({error}); install it, or use encoder 'bundled'"
        ) from error
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise EncoderError(
                f"torchvision does not fit this torch ({error}); use encoder 'bundled'"
            ) from error
    _declare_operators()
    return importlib.import_module("torchvision.models")


def _declare_operators() -> None:
    """Declare the missing schemas; a module-level reference keeps them registered."""
    global _library
    if _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            _library.define(schema)  # type: ignore[no-untyped-call]
