"""Retouches: the looks that a photo editor gives a photo, to make pairs where no expert did."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array((0.2126, 0.7152, 0.0722), dtype=np.float32)
_AXES = np.array(((1, -0.5, -0.5), (0, 0.75**0.5, -(0.75**0.5))), dtype=np.float32) * (2 / 3) ** 0.5  # across grey
_KNOTS = 6
_Color = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Retouch:
    """One look. The defaults change nothing.

    Attributes:
        exposure: in stops.
        gamma: exponent of the tone curve; below 1 lifts the shadows.
        contrast: strength of an S-curve about mid-grey, from -1 (flat) to 1 (hard).
        temperature: white balance, from blue (-1) to amber (1).
        tint: white balance, from green (-1) to magenta (1).
        curves: (3, K) rising heights of the channels' own tone curves over evenly spaced levels; None: straight.
        saturation: factor on the distance from grey.
        hue: turn of all hues, radians.
        crosstalk: (3, 3) what the channels take of each other; None: nothing.
        shadows: sRGB offset of the darkest pixels (split toning).
        highlights: sRGB offset of the brightest pixels (split toning).
        black: where black goes (a faded film).
        white: where white goes.
    """

    exposure: float = 0.0
    gamma: float = 1.0
    contrast: float = 0.0
    temperature: float = 0.0
    tint: float = 0.0
    curves: NDArray[np.float64] | None = None
    saturation: float = 1.0
    hue: float = 0.0
    crosstalk: NDArray[np.float64] | None = None
    shadows: _Color = (0.0, 0.0, 0.0)
    highlights: _Color = (0.0, 0.0, 0.0)
    black: _Color = (0.0, 0.0, 0.0)
    white: _Color = (1.0, 1.0, 1.0)

    def apply(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB to the same, retouched."""
        tables = self._tables()
        rgb = np.stack([tables[:, channel][photo[..., channel]] for channel in range(3)], axis=-1) @ self._mixture().T
        grey = (rgb @ _LUMA)[..., None].clip(0.0, 1.0)
        rgb = (
            rgb
            + (1.0 - grey) ** 2 * np.asarray(self.shadows, np.float32)
            + grey**2 * np.asarray(self.highlights, np.float32)
        )
        black, white = np.asarray(self.black, np.float32), np.asarray(self.white, np.float32)
        return np.rint(np.clip(black + rgb * (white - black), 0.0, 1.0) * 255.0).astype(np.uint8)

    def _tables(self) -> NDArray[np.float32]:
        """(256, 3): exposure, white balance and curves act on single channels."""
        gains = 2.0**self.exposure * np.array(
            (1.0 + 0.25 * self.temperature, 1.0 - 0.2 * self.tint, 1.0 - 0.25 * self.temperature), dtype=np.float32
        )
        levels = np.linspace(0.0, 1.0, 256, dtype=np.float32)[:, None]
        tones = np.clip(levels * gains ** (1.0 / 2.2), 0.0, 1.0) ** self.gamma
        if self.curves is not None:
            from scipy.interpolate import PchipInterpolator

            heights = PchipInterpolator(np.linspace(0.0, 1.0, self.curves.shape[1]), self.curves, axis=1)
            tones = np.stack([heights(tones[:, channel])[channel] for channel in range(3)], axis=1)
        s_curve = tones * tones * (3.0 - 2.0 * tones)
        return (tones + self.contrast * (s_curve - tones)).astype(np.float32)

    def _mixture(self) -> NDArray[np.float32]:
        """(3, 3): saturation, turn of hues and crosstalk, none of which moves grey."""
        cos, sin = np.cos(self.hue), np.sin(self.hue)
        turn = np.array(((cos, -sin), (sin, cos)))
        mixture = _LUMA + (np.eye(3) - _LUMA) * self.saturation
        if self.hue:
            mixture = (np.full((3, 3), 1 / 3) + _AXES.T @ turn @ _AXES) @ mixture
        if self.crosstalk is not None:
            mixture = (np.eye(3) + self.crosstalk - np.diag(self.crosstalk.sum(1))) @ mixture
        return mixture.astype(np.float32)


EXPERTS = {
    "a": Retouch(exposure=0.35, gamma=0.75),
    "b": Retouch(temperature=0.9, tint=0.15, gamma=0.95),
    "c": Retouch(saturation=1.6, contrast=0.2),
    "d": Retouch(contrast=0.9, exposure=-0.2, saturation=0.75),
    "e": Retouch(saturation=0.7, shadows=(-0.02, 0.06, 0.12), highlights=(0.08, 0.02, -0.10)),
}
"""Five distinct looks, one for each of the ways to retouch: tone curve, white balance, saturation, contrast, split
toning. They stand in for FiveK's five experts."""


def random_retouch(rng: np.random.Generator, brighter: float = 0.0) -> Retouch:
    """Draw a look: of what experts, graders and film do, some at a time, at times a lot.

    Args:
        rng: what it is drawn from.
        brighter: stops that are added to what is drawn.
    """

    def some(share: float, deviation: float) -> float:
        return rng.normal(0.0, deviation) if rng.random() < share else 0.0

    def color(share: float, deviation: float) -> _Color:
        red, green, blue = rng.normal(0.0, deviation, 3) if rng.random() < share else (0.0, 0.0, 0.0)
        return red, green, blue

    steps = some(0.7, 0.45) * rng.normal(size=_KNOTS - 1) + some(0.5, 0.25) * rng.normal(size=(3, _KNOTS - 1))
    heights = np.cumsum(np.exp(steps), axis=1)
    lift, cut = (rng.uniform(0, 0.15) if rng.random() < 0.35 else 0.0 for _ in range(2))
    tints = np.abs((color(0.3, 0.06), color(0.3, 0.06)))
    exposure = some(0.6, 0.6)
    if rng.random() < 0.12:  # night falls, or the sun burns
        exposure = rng.uniform(-4.0, -1.0) if rng.random() < 0.75 else rng.uniform(1.0, 2.0)
    return Retouch(
        exposure=exposure + brighter,
        contrast=some(0.4, 0.4),
        temperature=float(np.clip(some(0.7, 1.0) * rng.uniform(0.3, 1.2), -2.5, 2.5)),
        tint=float(np.clip(some(0.6, 0.7) * rng.uniform(0.3, 1.2), -2.5, 2.5)),
        curves=np.pad(heights / heights[:, -1:], ((0, 0), (1, 0))),
        saturation=rng.uniform(0.0, 0.3) if rng.random() < 0.08 else float(np.exp(some(0.7, 0.4))),
        hue=rng.uniform(-np.pi, np.pi) if rng.random() < 0.06 else some(0.4, 0.25),
        crosstalk=rng.normal(0.0, 0.08, (3, 3)) if rng.random() < 0.25 else None,
        shadows=color(0.35, 0.06),
        highlights=color(0.35, 0.05),
        black=tuple(lift + tints[0]),
        white=tuple(1.0 - cut - tints[1]),
    )


def faint_retouch(rng: np.random.Generator) -> Retouch:
    """Draw a look such as photos have before anyone grades them."""
    look = random_retouch(rng)
    return replace(
        look, exposure=look.exposure / 2, temperature=look.temperature / 2, tint=look.tint / 2, hue=0.0, crosstalk=None
    )


def random_capture(rng: np.random.Generator) -> Retouch:
    """Draw what a photo looks like before it is developed: dark, flat and pale."""
    return Retouch(
        exposure=-rng.uniform(0.0, 2.2),
        gamma=rng.uniform(1.0, 1.25),
        temperature=rng.normal(0.0, 0.4),
        tint=rng.normal(0.0, 0.3),
        saturation=rng.uniform(0.5, 1.0),
    )
