"""Colour maps on a lattice, applied to photos."""

import numpy as np
import torch
from scipy.interpolate import RegularGridInterpolator

from deepct.color import rgb_to_uint8, uint8_to_rgb
from deepct.lattice import lattice_colors, look_up, recolor_by_lattice


def test_looking_up_is_scipys_trilinear_interpolation() -> None:
    generator = torch.Generator().manual_seed(0)
    tables = torch.rand(2, 3, 5, 5, 5, generator=generator)
    rgb = torch.rand(2, 3, 7, 9, generator=generator)
    axis = np.linspace(0, 1, 5)
    for table, photo, found in zip(tables, rgb, look_up(tables, rgb), strict=True):
        expected = RegularGridInterpolator((axis,) * 3, table.permute(1, 2, 3, 0).numpy())(photo.permute(1, 2, 0))
        np.testing.assert_allclose(found.permute(1, 2, 0), expected, atol=1e-5)


def test_the_points_colours_are_in_the_tables_order() -> None:
    colors = lattice_colors(3, torch.device("cpu"))
    photo = colors.T.view(1, 3, 27, 1)
    torch.testing.assert_close(look_up(colors.T.reshape(1, 3, 3, 3, 3), photo), photo)


def test_a_photo_in_bands_is_the_photo_at_once(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    tables = torch.rand(1, 3, 4, 4, 4, generator=generator)
    photo = torch.randint(0, 256, (1, 3, 50, 40), dtype=torch.uint8, generator=generator)
    monkeypatch.setattr("deepct.highres._BAND", 7 * 40)
    assert torch.equal(recolor_by_lattice(tables, photo), rgb_to_uint8(look_up(tables, uint8_to_rgb(photo))))
    assert torch.equal(recolor_by_lattice(tables, photo, 0.0), photo)
