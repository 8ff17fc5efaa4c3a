"""Gradings to judge by: what colourists do to a whole picture, drawn at random.

They are of the kinds that networks are trained on (:mod:`deepct.data.retouch`), for these are what graders do; formulas
and ranges are others, and no draw is shared. Every grading is one map from colours to colours, the same at each pixel.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

_LUMA = np.array((0.2126, 0.7152, 0.0722))
_YCC = np.array((_LUMA, ((0, 0, 1) - _LUMA) / 1.8556, ((1, 0, 0) - _LUMA) / 1.5748))  # BT.709's luma and chroma
_RGB = np.linalg.inv(_YCC)
_KNOTS = np.linspace(0.0, 1.0, 6)

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grading:
    """One grading.

    Attributes:
        gains: (3,) factors on linear light: exposure and white balance.
        curves: (3, 6) heights of the channels' tone curves over evenly spaced knots, rising.
        contrast: strength of an S-curve about ``pivot``; negative flattens.
        pivot: the level that contrast leaves alone.
        crosstalk: (3, 3) mixture of the channels, whose rows sum to 1: grey stays grey.
        hue: rotation of the chroma plane, radians.
        saturation: factor on chroma.
        shadows: (3,) offset of the darkest colours (split toning).
        highlights: (3,) offset of the brightest colours.
        black: (3,) where black goes (fade).
        white: (3,) where white goes.
    """

    gains: Vector
    curves: Vector
    contrast: float
    pivot: float
    crosstalk: Vector
    hue: float
    saturation: float
    shadows: Vector
    highlights: Vector
    black: Vector
    white: Vector

    def apply(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Grade (..., 3) uint8 sRGB; computed in float, rounded once, clipped to 8 bits."""
        encoded = np.arange(256) / 255.0
        light = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
        exposed = light[:, None] * self.gains
        exposed = np.where(exposed > 0.0031308, 1.055 * exposed.clip(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * exposed)
        # Until here and through the curves each channel is by itself: a table of 256 entries.
        tables = [PchipInterpolator(_KNOTS, curve)(exposed[:, c].clip(0, 1)) for c, curve in enumerate(self.curves)]
        rgb = np.stack([self._bend(table)[photo[..., c]] for c, table in enumerate(tables)], axis=-1)
        rgb = rgb @ self.crosstalk.T
        cos, sin = self.saturation * np.cos(self.hue), self.saturation * np.sin(self.hue)
        rgb = rgb @ (_RGB @ np.array(((1, 0, 0), (0, cos, -sin), (0, sin, cos))) @ _YCC).T
        luma = (rgb @ _LUMA).clip(0, 1)[..., None]
        rgb = rgb + (1 - luma) ** 3 * self.shadows + luma**3 * self.highlights
        rgb = self.black + rgb * (self.white - self.black)
        return np.rint(rgb.clip(0, 1) * 255).astype(np.uint8)

    def _bend(self, levels: Vector) -> Vector:
        """Contrast: towards the S-curve of a hyperbolic tangent about the pivot, ends kept."""
        low, high = np.tanh(-4 * self.pivot), np.tanh(4 * (1 - self.pivot))
        s_curve = (np.tanh(4 * (levels - self.pivot)) - low) / (high - low)
        return levels + self.contrast * (s_curve - levels)


def draw_grading(name: str) -> Grading:
    """The grading of a photo: it follows from the name alone."""
    rng = np.random.default_rng(zlib.crc32(f"grading/{name}".encode()))
    exposure, warmth, tint = rng.normal(0.0, (0.55, 0.36, 0.14))
    steps = np.diff(_KNOTS) * np.exp(rng.normal(0.0, 0.30, 5) + rng.normal(0.0, 0.1, (3, 5)))
    heights = np.concatenate((np.zeros((3, 1)), np.cumsum(steps / steps.sum(1, keepdims=True), axis=1)), axis=1)
    crosstalk = rng.normal(0.0, 0.05, (3, 3))
    np.fill_diagonal(crosstalk, 0.0)
    turned = rng.random() < 0.08
    fade = rng.random() < 0.4
    return Grading(
        gains=2.0 ** (exposure + np.array((warmth, -tint, -warmth))),
        curves=heights.clip(0, 1),
        contrast=rng.uniform(-0.5, 0.35),
        pivot=rng.uniform(0.35, 0.6),
        crosstalk=crosstalk + np.diag(1 - crosstalk.sum(1)),
        hue=rng.uniform(-np.pi, np.pi) if turned else rng.normal(0.0, 0.1),
        saturation=float(np.exp(rng.uniform(-1.0, 0.15))),
        shadows=rng.normal(0.0, 0.04, 3),
        highlights=rng.normal(0.0, 0.03, 3),
        black=rng.uniform(0.0, 0.12) * fade + rng.uniform(0.0, 0.04, 3) * fade,
        white=1.0 - rng.uniform(0.0, 0.12) * fade - rng.uniform(0.0, 0.04, 3) * fade,
    )
