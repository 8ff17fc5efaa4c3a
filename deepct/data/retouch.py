"""Retouches: the looks that a photo editor gives a photo, to make pairs where no expert did."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array((0.2126, 0.7152, 0.0722), dtype=np.float32)
_Color = tuple[float, float, float]


@dataclass(frozen=True)
class Retouch:
    """One look. The defaults change nothing.

    Attributes:
        exposure: in stops.
        gamma: exponent of the tone curve; below 1 lifts the shadows.
        contrast: strength of an S-curve about mid-grey, from -1 (flat) to 1 (hard).
        temperature: white balance, from blue (-1) to amber (1).
        tint: white balance, from green (-1) to magenta (1).
        saturation: factor on the distance from grey.
        shadows: sRGB offset of the darkest pixels (split toning).
        highlights: sRGB offset of the brightest pixels (split toning).
    """

    exposure: float = 0.0
    gamma: float = 1.0
    contrast: float = 0.0
    temperature: float = 0.0
    tint: float = 0.0
    saturation: float = 1.0
    shadows: _Color = (0.0, 0.0, 0.0)
    highlights: _Color = (0.0, 0.0, 0.0)

    def apply(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB to the same, retouched."""
        gains = 2.0**self.exposure * np.array(
            (1.0 + 0.25 * self.temperature, 1.0 - 0.2 * self.tint, 1.0 - 0.25 * self.temperature), dtype=np.float32
        )
        # Exposure, white balance and curves act on single channels: one table of 256 entries each.
        levels = np.linspace(0.0, 1.0, 256, dtype=np.float32)[:, None]
        tones = np.clip(levels * gains ** (1.0 / 2.2), 0.0, 1.0) ** self.gamma
        s_curve = tones * tones * (3.0 - 2.0 * tones)
        tones = tones + self.contrast * (s_curve - tones)
        rgb = np.stack([tones[:, channel][photo[..., channel]] for channel in range(3)], axis=-1)
        grey = (rgb @ _LUMA)[..., None]
        rgb = grey + self.saturation * (rgb - grey)
        rgb = (
            rgb
            + (1.0 - grey) ** 2 * np.asarray(self.shadows, np.float32)
            + grey**2 * np.asarray(self.highlights, np.float32)
        )
        return np.rint(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)


EXPERTS = {
    "a": Retouch(exposure=0.35, gamma=0.75),
    "b": Retouch(temperature=0.9, tint=0.15, gamma=0.95),
    "c": Retouch(saturation=1.6, contrast=0.2),
    "d": Retouch(contrast=0.9, exposure=-0.2, saturation=0.75),
    "e": Retouch(saturation=0.7, shadows=(-0.02, 0.06, 0.12), highlights=(0.08, 0.02, -0.10)),
}
"""Five distinct looks, one for each of the ways to retouch: tone curve, white balance, saturation, contrast, split
toning. They stand in for FiveK's five experts."""


def random_retouch(rng: np.random.Generator) -> Retouch:
    """Draw a look, broad enough to cover what the experts of FiveK do."""
    shadows, highlights = rng.normal(0.0, 0.03, (2, 3))
    return Retouch(
        exposure=rng.uniform(-0.6, 0.8),
        gamma=float(np.exp(rng.uniform(-0.35, 0.35))),
        contrast=rng.uniform(-0.4, 0.9),
        temperature=rng.uniform(-0.8, 0.8),
        tint=rng.uniform(-0.5, 0.5),
        saturation=rng.uniform(0.3, 1.6),
        shadows=(shadows[0], shadows[1], shadows[2]),
        highlights=(highlights[0], highlights[1], highlights[2]),
    )
