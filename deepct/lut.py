"""Transfers as 3-D look-up tables (LUTs), for photo and video editors."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepct.errors import ConfigError
from deepct.lattice import LATTICE_SIZE, lattice_colors
from deepct.networks import TransferNetwork, check_strength
from deepct.writing import written_aside

_SIZES = range(2, 257)  # of the .cube format
_TITLE = 200  # characters: a line of the format holds 250 bytes


@dataclass(frozen=True)
class ColorLUT:
    """A map of sRGB colours, sampled on a regular lattice.

    Attributes:
        table: (size, size, size, 3) float32 sRGB in [0, 1]; ``table[r, g, b]`` is what becomes of the colour
            ``(r, g, b) / (size - 1)``.
    """

    table: NDArray[np.float32]

    def save(self, path: str | Path) -> None:
        """Write an Adobe/Iridas ``.cube`` file, titled by its name.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        title = path.stem.encode("ascii", "replace").decode().replace('"', "'")[:_TITLE]
        header = f'TITLE "{title}"\nLUT_3D_SIZE {len(self.table)}\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1 1 1'
        red_fastest = self.table.transpose(2, 1, 0, 3).reshape(-1, 3)
        with written_aside(path) as aside:
            np.savetxt(aside, red_fastest, "%.6f", header=header, comments="", encoding="ascii")


@torch.inference_mode()
def build_lut(
    network: TransferNetwork,
    source: Tensor,
    reference: Tensor,
    working_size: int | None = None,
    size: int = LATTICE_SIZE,
    strength: float = 1.0,
) -> ColorLUT:
    """Sample the global transfer from one photo to another.

    Args:
        network: one whose transfers are maps of colours.
        source: (1, 3, H, W) uint8 sRGB.
        reference: (1, 3, H', W') uint8 sRGB.
        working_size: see :meth:`deepct.networks.TransferNetwork.recolor`.
        size: points along each axis, 2 to 256.
        strength: how much of the transfer is wanted, from 0 to 1.

    Raises:
        ConfigError: the network draws each pixel by its surroundings, or size or strength is out of range.
    """
    check_strength(strength)
    if size not in _SIZES:
        raise ConfigError(f"a LUT has {_SIZES[0]} to {_SIZES[-1]} points along each axis, got {size}")
    colors = lattice_colors(size, source.device)
    mapped = torch.lerp(colors, network.lattice(source, reference, colors, working_size), strength)
    return ColorLUT(mapped.view(size, size, size, 3).cpu().numpy())
