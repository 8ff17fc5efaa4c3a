"""Colour transfer from Python."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from deepct.data.image import Picture, show_visible, take_picture, to_pixels, to_planes
from deepct.data.masks import NUM_CLASSES, same_aspect, valid_labels
from deepct.data.metadata import Metadata
from deepct.histogram import UNLABELLED
from deepct.lattice import LATTICE_SIZE
from deepct.lut import ColorLUT, build_lut
from deepct.networks import WORKING_SIZE, TransferNetwork, load_network, shipped_weights
from deepct.semantics import DEFAULT, Semantics

Photo = TypeVar("Photo", Image.Image, NDArray[np.uint8])


class ColorTransfer:
    """Give photos the colours of others.

    >>> transfer = ColorTransfer.load()                          # doctest: +SKIP
    >>> transfer.transfer(source, reference).save("result.png")  # doctest: +SKIP

    Args:
        network: a trained network.
        device: where it runs.
        working_size: the longest side at which colours are decided, px; larger photos take them over pixel by pixel.
            None: the network sees every photo at full size.
        semantics: how label maps steer the transfer.
    """

    def __init__(
        self,
        network: TransferNetwork,
        device: str | torch.device = "cpu",
        working_size: int | None = WORKING_SIZE,
        semantics: Semantics = DEFAULT,
    ) -> None:
        self.device = torch.device(device)
        self.working_size = working_size
        self.semantics = semantics
        self.network = network.to(self.device).eval()

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str | torch.device = "cpu",
        working_size: int | None = WORKING_SIZE,
        semantics: Semantics = DEFAULT,
    ) -> "ColorTransfer":
        """Load a trained network.

        Args:
            path: a checkpoint that ``deepct fit`` wrote, teacher or student, or weights (``.safetensors``) that
                ``deepct export`` wrote; by default the weights that come with deepct.
            device: as in :class:`ColorTransfer`.
            working_size: likewise.
            semantics: likewise.

        Raises:
            CheckpointError: the file is missing, or not of deepct. No code in it is ever run.
        """
        return cls(load_network(shipped_weights() if path is None else path), device, working_size, semantics)

    def transfer(
        self,
        source: Photo,
        reference: Image.Image | NDArray[np.uint8],
        source_labels: ArrayLike | None = None,
        reference_labels: ArrayLike | None = None,
        strength: float = 1.0,
    ) -> Photo:
        """Recolour one photo, of any size.

        Args:
            source: a PIL image (its EXIF orientation and colour profile are applied), or (H, W, 3) uint8 sRGB.
                Of transparent pixels the network sees the photo's mean colour.
            reference: likewise, of any size.
            source_labels: (h, w) label map of the upright source, 0 to 149, or 255 for no label, of the photo's size or
                smaller. Both maps or none.
            reference_labels: label map of the upright reference.
            strength: how much of the transfer is wanted, from 0, the source as it is, to 1.

        Returns:
            The recoloured photo in the form and size of the upright source. A PIL image keeps its transparency, and its
            ``info`` holds ``exif``, without orientation, sizes and thumbnail, ``dpi``, and a profile of sRGB, each
            where the source has one.

        Raises:
            ConfigError: the strength is not from 0 to 1.
            ValueError: an array has another shape or type, or one label map came without the other.
        """
        picture = _take(source, "source")
        photo, shown = self._planes(picture.pixels), self._shown(picture)
        photos = photo, self._shown(_take(reference, "reference"))
        labels = (
            self._labels(source_labels, photos[0], "source_labels"),
            self._labels(reference_labels, photos[1], "reference_labels"),
        )
        result = self.network.recolor(*photos, *labels, self.working_size, self.semantics, strength, shown)
        pixels = to_pixels(result[0])
        if not isinstance(source, Image.Image):
            return pixels
        image = Image.fromarray(pixels if picture.alpha is None else np.dstack((pixels, picture.alpha)))
        image.info.update(picture.metadata.options)
        return image

    def lut(
        self,
        source: Image.Image | NDArray[np.uint8],
        reference: Image.Image | NDArray[np.uint8],
        size: int = LATTICE_SIZE,
        strength: float = 1.0,
    ) -> ColorLUT:
        """The global transfer from one photo to another as a 3-D LUT: ``transfer.lut(...).save("look.cube")``.

        Args:
            source: as in :meth:`transfer`.
            reference: likewise.
            size: points along each axis, 2 to 256.
            strength: how much of the transfer is wanted, from 0 to 1.

        Raises:
            ConfigError: the network draws each pixel by its surroundings, or size or strength is out of range.
            ValueError: an array has another shape or type.
        """
        photos = self._shown(_take(source, "source")), self._shown(_take(reference, "reference"))
        return build_lut(self.network, *photos, self.working_size, size, strength)

    def _planes(self, pixels: NDArray[np.uint8]) -> Tensor:
        return to_planes(pixels).unsqueeze(0).to(self.device)

    def _shown(self, picture: Picture) -> Tensor:
        """What the network is shown of a photo."""
        pixels, alpha, _ = picture
        return self._planes(pixels if alpha is None else show_visible(pixels, alpha))

    def _labels(self, labels: ArrayLike | None, photo: Tensor, name: str) -> Tensor | None:
        if labels is None:
            return None
        array, size = np.asarray(labels), tuple(photo.shape[-2:])
        fits = array.ndim == 2 and array.size > 0 and same_aspect(array.shape, size)
        if not fits or array.dtype.kind not in "iu" or not valid_labels(array).all():
            raise ValueError(
                f"{name} must be integers from 0 to {NUM_CLASSES - 1}, or {UNLABELLED}, of the photo's aspect ratio "
                f"{size}, got {array.dtype} {array.shape}"
            )
        return torch.from_numpy(array.astype(np.uint8)).unsqueeze(0).to(self.device)


def _take(photo: Image.Image | NDArray[np.uint8], name: str) -> Picture:
    picture = take_picture(photo) if isinstance(photo, Image.Image) else Picture(np.asarray(photo), None, Metadata())
    pixels = picture.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"{name} must be (H, W, 3) uint8 sRGB, got {pixels.dtype} {pixels.shape}")
    return picture
