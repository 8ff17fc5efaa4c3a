"""color-matcher, which is GPL and no part of deepct: the one place that imports it, and only when it is asked for."""

from typing import Any

import numpy as np

from deepct.errors import ConfigError
from deepct.evaluation.lab import Photo


def color_matcher(source: Photo, reference: Photo, method: str) -> Photo:
    """Recolour by a method of color-matcher, ``hm-mkl-hm`` or ``hm-mvgd-hm``.

    Its own normaliser would stretch the result to the full range; it is clipped here. The method is given to the
    constructor, because ``transfer(method=...)`` runs MKL in the place of MVGD without a word.

    Args:
        source: (H, W, 3) uint8 sRGB.
        reference: likewise; ``hm-mvgd-hm`` takes it pixel by pixel and needs it of the source's size.
        method: color-matcher's name.

    Returns:
        The recoloured source.

    Raises:
        ConfigError: color-matcher is not installed.
    """
    matcher = require_color_matcher()
    # As floats: it would cut what it computes to whole codes between its steps.
    result = matcher(src=source.astype(np.float64), ref=reference.astype(np.float64), method=method).main()
    return np.rint(np.clip(np.real(result), 0, 255)).astype(np.uint8)


def require_color_matcher() -> Any:
    """color-matcher's class.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from color_matcher import ColorMatcher
    except ImportError as error:
        raise ConfigError(
            "the methods hm-mkl-hm and hm-mvgd-hm are those of color-matcher, which is not installed: "
            "pip install 'deepct[evaluate]', or name other methods by --methods"
        ) from error
    return ColorMatcher
