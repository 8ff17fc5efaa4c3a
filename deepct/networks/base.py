"""What all networks share: how photos of any size come in and go out."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from deepct.color import rgb_to_normalized
from deepct.errors import ConfigError
from deepct.guesses.maps import PairGuesses
from deepct.highres import shrink_photo
from deepct.histogram import LabelMatches, PairHistograms
from deepct.networks.config import NetworkConfig
from deepct.output import TransferOutput, pick_nearest
from deepct.semantics import DEFAULT, Semantics, match_labels

WORKING_SIZE = 768
"""The longest side of the copy on which colours are decided by default, px."""

_MIN_WORKING_SIZE = 32  # px: CTN's coarsest features are at a 32nd of what it sees

Study: TypeAlias = PairHistograms | PairGuesses
"""What a network knows of the colours of a batch of pairs."""


def check_working_size(working_size: int | None) -> None:
    """Check a working size, in px.

    Raises:
        ConfigError: it is below 32.
    """
    if working_size is not None and working_size < _MIN_WORKING_SIZE:
        raise ConfigError(
            f"working_size must be {_MIN_WORKING_SIZE} px or more, or null for full size, got {working_size}"
        )


def check_strength(strength: float) -> None:
    """Check how much of a transfer is wanted.

    Raises:
        ConfigError: it is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength must be from 0, the source as it is, to 1, the full transfer, got {strength}")


class TransferNetwork(nn.Module, ABC):
    """Give a source the colours of a reference.

    Attributes:
        config: the network's shape.
        hen: the histogram encoding network.
        ctn: the colour transfer network.
    """

    config: NetworkConfig
    hen: nn.Module
    ctn: nn.Module

    @property
    @abstractmethod
    def sight(self) -> Hashable:
        """Networks of equal sight study a pair alike."""

    @abstractmethod
    def study(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        matches: LabelMatches | None = None,
    ) -> Study:
        """Learn what this network needs to know of a batch of pairs.

        Args:
            source: (B, 3, H, W) normalised Lab.
            reference: (B, 3, H', W') normalised Lab, of any size.
            source_labels: (B, H, W) uint8 label map, 255 where there is no label. Both maps or none.
            reference_labels: (B, H', W') uint8.
            matches: which labels take which colours; by default each label that both photos show takes its own.

        Raises:
            ValueError: one label map came without the other.
        """

    @abstractmethod
    def transfer(self, source: Tensor, study: Study, scales: bool = True) -> TransferOutput:
        """:meth:`forward` with a study that is made already, where several networks see one pair."""

    @abstractmethod
    def _recolor(self, source: Tensor, working: Tensor, study: Study, semantics: Semantics, strength: float) -> Tensor:
        """Recolour sources, uint8 or uint16, whose working copies in normalised Lab have been studied."""

    def forward(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        scales: bool = True,
    ) -> TransferOutput:
        """Recolour a batch of photos.

        Args:
            source: (B, 3, H, W) normalised Lab.
            reference: (B, 3, H', W') normalised Lab, of any size.
            source_labels: (B, H, W) uint8 label map, 255 where there is no label. Both maps or none.
            reference_labels: (B, H', W') uint8.
            scales: compute the decoder's pictures too, which only the losses read.

        Returns:
            The recoloured picture, (B, 3, H, W), and the decoder's, where there is one.

        Raises:
            ValueError: one label map came without the other.
        """
        return self.transfer(source, self.study(source, reference, source_labels, reference_labels), scales)

    @torch.inference_mode()
    def recolor(
        self,
        source: Tensor,
        reference: Tensor,
        source_labels: Tensor | None = None,
        reference_labels: Tensor | None = None,
        working_size: int | None = None,
        semantics: Semantics = DEFAULT,
        strength: float = 1.0,
        shown: Tensor | None = None,
    ) -> Tensor:
        """Recolour photos of any size.

        Args:
            source: (B, 3, H, W) uint8 or uint16 sRGB.
            reference: (B, 3, H', W') uint8 or uint16 sRGB.
            source_labels: (B, h, w) uint8 label map of any size, laid over the photo. Both maps or none.
            reference_labels: (B, h', w') uint8.
            working_size: colours are decided on copies of the photos whose longest side is this, px, but whose shorter
                side is no less than 32, and taken from there to every pixel. Smaller photos, and all with None, are
                seen whole.
            semantics: how label maps steer the transfer.
            strength: how much of the transfer is wanted, from 0, the source bit for bit, to 1; see
                :func:`deepct.color.blend_into`.
            shown: what the network sees in the source's place, of its size and type: of a photo with transparency, see
                :func:`deepct.data.image.show_visible`.

        Returns:
            (B, 3, H, W) sRGB of the source's type.

        Raises:
            ConfigError: the working size is below 32, or the strength not from 0 to 1.
            ValueError: one label map came without the other.
        """
        check_working_size(working_size)
        check_strength(strength)
        working, labels = working_copy(source if shown is None else shown, source_labels, working_size)
        reference, reference_labels = working_copy(reference, reference_labels, working_size)
        matches = None
        if labels is not None and reference_labels is not None:
            matches = match_labels(labels, reference_labels, semantics)
        study = self.study(working, reference, labels, reference_labels, matches)
        return self._recolor(source, working, study, semantics, strength)

    def lattice(self, source: Tensor, reference: Tensor, colors: Tensor, working_size: int | None = None) -> Tensor:
        """What the global transfer from a source to a reference makes of given colours, wherever they stand.

        Args:
            source: (1, 3, H, W) uint8 sRGB.
            reference: (1, 3, H', W') uint8 sRGB.
            colors: (N, 3) sRGB in [0, 1].
            working_size: as in :meth:`recolor`.

        Returns:
            (N, 3) sRGB in [0, 1].

        Raises:
            ConfigError: this network draws each pixel by its surroundings.
        """
        raise ConfigError(
            "this network draws each pixel by its surroundings, so no table of colours (LUT) holds its transfer; "
            "recolour photos with it, or take the weights of a network that maps colours"
        )


def working_copy(photo: Tensor, labels: Tensor | None, longest: int | None) -> tuple[Tensor, Tensor | None]:
    """A photo, (B, 3, H, W) uint8 or uint16 sRGB, in normalised Lab, and its label map, at the working size."""
    height, width = photo.shape[-2:]
    scale = 1.0
    if longest is not None:
        scale = min(1.0, max(longest / max(height, width), _MIN_WORKING_SIZE / min(height, width)))
    size = round(height * scale), round(width * scale)
    return rgb_to_normalized(shrink_photo(photo, size)), None if labels is None else pick_nearest(labels, size)
