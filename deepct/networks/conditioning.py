"""How the histogram codes enter CTN's convolutions: as planes that are never built.

e_s and e_t are constant over the picture, and R_t takes few values, in regions. A 3 x 3 convolution over such planes
has as many different results as there are different 3 x 3 neighbourhoods, so it is computed once for each and spread
out. That is exact, borders included.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepct.output import pick_nearest, resize_to


class Window(NamedTuple):
    """A part of a plane.

    Attributes:
        top: its first row.
        left: its first column.
        height: rows.
        width: columns.
        plane: height and width of the plane that it is a part of.
    """

    top: int
    left: int
    height: int
    width: int
    plane: tuple[int, int]

    @property
    def inside(self) -> bool:
        """It lies within the plane."""
        below, right = self.plane[0] - self.top - self.height, self.plane[1] - self.left - self.width
        return min(self.top, self.left, below, right) >= 0

    def grow(self, by: int) -> "Window":
        """The same with so many pixels more on each side."""
        return Window(self.top - by, self.left - by, self.height + 2 * by, self.width + 2 * by, self.plane)

    def cut(self, plane: Tensor) -> Tensor:
        """This part of (..., H, W)."""
        return plane[..., self.top : self.top + self.height, self.left : self.left + self.width]


class Neighbourhoods(NamedTuple):
    """The different 3 x 3 neighbourhoods of a map of rows.

    Attributes:
        rows: (U, 9) int64, the row under each tap, in reading order; -1 beyond the border.
        places: (B, H, W) int64, which of them each pixel has.
    """

    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, rows: Tensor, count: int) -> "Neighbourhoods":
        """Find those of (B, H, W) rows from 0 to count - 1."""
        height, width = rows.shape[-2:]
        padded = F.pad(rows, (1, 1, 1, 1), value=-1)
        columns, column = _unique_triples([padded[:, top : top + height] for top in range(3)], count)
        triples, places = _unique_triples([column[..., left : left + width] for left in range(3)], len(columns))
        return cls(columns[triples].transpose(1, 2).flatten(1), places)


def _unique_triples(planes: list[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The different triples (U, 3) of planes of integers from -1 to count - 1, and which of them each element has."""
    base = count + 1
    coded, index = ((planes[0] + 1) * base**2 + (planes[1] + 1) * base + planes[2] + 1).unique(return_inverse=True)
    return torch.stack((coded // base**2, coded // base % base, coded % base), dim=1) - 1, index


class RegionMap:
    """R_t: one of few codes at each pixel.

    Args:
        table: (R, C) codes.
        index: (B, H, W) int64, the row of the table at each pixel.
    """

    def __init__(self, table: Tensor, index: Tensor) -> None:
        self.table = table
        self.index = index
        self._neighbourhoods: dict[tuple[int, int], Neighbourhoods] = {}

    def convolve(self, weight: Tensor, size: tuple[int, int], window: Window | None = None) -> Tensor:
        """Convolve the map's planes (never built) with (O, C, 3, 3) weights, padded with zeros.

        Args:
            weight: the planes' share of a convolution's weights.
            size: the map's size at the layer that convolves it.
            window: the part of the result that is wanted; all of it by default.

        Returns:
            (B, O, h, w), channels last in memory.
        """
        count = len(self.table)
        if size not in self._neighbourhoods:
            self._neighbourhoods[size] = Neighbourhoods.of(pick_nearest(self.index, size), count)
        rows, places = self._neighbourhoods[size]
        taps = torch.where(rows >= 0, rows + count * torch.arange(9, device=rows.device), 9 * count)
        products = torch.einsum("rc,ocij->ijro", self.table.float(), weight.float()).reshape(9 * count, -1)
        products = torch.cat((products, products.new_zeros(1, products.shape[1])))
        places = places if window is None else window.cut(places)
        return F.embedding(places, F.embedding_bag(taps, products, mode="sum")).permute(0, 3, 1, 2)


class FeatheredMap:
    """R_t with soft borders: a mixture of few codes at each pixel.

    A convolution over it is one over the shares, which are fewer planes than a code has channels.

    Args:
        table: (R, C) codes.
        shares: (B, R, H, W), the share of each code at each pixel.
    """

    def __init__(self, table: Tensor, shares: Tensor) -> None:
        self.table = table
        self.shares = shares

    def convolve(self, weight: Tensor, size: tuple[int, int], window: Window | None = None) -> Tensor:
        """As :meth:`RegionMap.convolve`; (B, O, h, w)."""
        products = torch.einsum("rc,ocij->orij", self.table.float(), weight.float())
        shares = resize_to(self.shares, size)
        if window is None:
            return F.conv2d(shares, products, padding=1)
        return F.conv2d(window.grow(1).cut(shares), products)


class Codes(NamedTuple):
    """The codes of a batch.

    Attributes:
        constant: (B, C) codes that hold at every pixel: e_s and e_t, or e_s alone beside R_t.
        regions: R_t, whose map has the padded source's size; None for a global transfer.
    """

    constant: Tensor
    regions: RegionMap | FeatheredMap | None = None


class ConditionedConv2d(nn.Module):
    """A 3 x 3 convolution over features and code planes, without the cost of the planes.

    Args:
        channels: feature channels.
        code_channels: channels of all codes, e_s and e_t together.
        out_channels: output channels.
    """

    def __init__(self, channels: int, code_channels: int, out_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(channels + code_channels, out_channels, 3, padding=1)

    def forward(self, features: Tensor, codes: Codes, window: Window | None = None) -> Tensor:
        """Convolve features and codes.

        Args:
            features: (B, channels, H, W), H and W at least 3; or the part of them that ``window`` holds.
            codes: the histogram codes.
            window: where the features lie, if they are a part of a larger plane. It touches no border of the plane.

        Returns:
            (B, out_channels, H, W); of a part, its inside, one pixel less on each side.
        """
        constant = codes.constant.shape[1]
        rest = self.conv.in_channels - self.channels - constant
        w_features, w_constant, w_regions = self.conv.weight.split((self.channels, constant, rest), dim=1)
        inner, size = (None, tuple(features.shape[-2:])) if window is None else (window.grow(-1), window.plane)
        out = F.conv2d(features, w_features, self.conv.bias, padding=1 if inner is None else 0)
        # What the codes add goes in place: a convolution's backward pass needs its result no more.
        if inner is None:
            # A constant plane has nine neighbourhoods: four corners, four borders and the inside, all on a 3 x 3 tile.
            tile = F.conv2d(codes.constant[:, :, None, None].expand(-1, -1, 3, 3), w_constant, padding=1)
            out += _spread(tile, *out.shape[-2:])
        else:  # and inside the borders, one
            out += F.linear(codes.constant, w_constant.sum((2, 3)))[:, :, None, None]
        if codes.regions is not None:
            with torch.autocast(features.device.type, enabled=False):
                out += codes.regions.convolve(w_regions, (size[0], size[1]), inner)
        return out


def _spread(tile: Tensor, height: int, width: int) -> Tensor:
    """Repeat the middle row and column of a (B, C, 3, 3) tile until it measures height x width."""
    rows = torch.cat((tile[:, :, :1], tile[:, :, 1:2].expand(-1, -1, height - 2, -1), tile[:, :, 2:]), dim=2)
    return torch.cat((rows[..., :1], rows[..., 1:2].expand(-1, -1, -1, width - 2), rows[..., 2:]), dim=3)
