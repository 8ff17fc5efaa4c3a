"""deepct: deep colour transfer between photos."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepct.api import ColorTransfer

__version__ = "0.1.0"

__all__ = ["ColorTransfer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name == "ColorTransfer":
        from deepct.api import ColorTransfer

        return ColorTransfer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
