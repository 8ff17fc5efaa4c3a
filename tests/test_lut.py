"""LUTs: the file as editors read it, and the same picture by a standard reader as by the transfer itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from deepct import ColorTransfer
from deepct.cli import main
from deepct.color import blend_into, normalized_to_rgb, rgb_to_normalized, uint8_to_rgb
from deepct.data.samples import demo_pairs
from deepct.errors import ConfigError
from deepct.lattice import LATTICE_SIZE
from deepct.lut import ColorLUT
from deepct.networks import ColorTransferNetwork, NetworkConfig

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)
PAIRS = {pair.name: pair for pair in demo_pairs()}


class LabMap(ColorTransferNetwork):
    """A network that sends colours through one curved map in Lab: more contrast, warmer, less saturated."""

    def map(self, rgb: Tensor) -> Tensor:
        lightness, a, b = rgb_to_normalized(rgb).unbind(-3)
        lightness = lightness + 0.2 * torch.sin(torch.pi * lightness) / torch.pi
        changed = torch.stack((lightness, 0.8 * a + 0.05 * lightness, 0.7 * b + 0.2), dim=-3)
        return normalized_to_rgb(changed).clamp(0, 1)

    def recolor(self, source: Tensor, *given: Any) -> Tensor:
        return blend_into(source, self.map(uint8_to_rgb(source)), given[5])

    def lattice(self, source: Tensor, reference: Tensor, colors: Tensor, working_size: int | None = None) -> Tensor:
        return self.map(colors.T[:, :, None])[:, :, 0].T


@pytest.fixture(scope="module")
def transfer() -> ColorTransfer:
    return ColorTransfer(LabMap(TINY))


def read_cube(path: Path) -> tuple[dict[str, str], list[tuple[float, ...]]]:
    """Keywords and rows of a file, by the letter of Adobe's specification."""
    keywords, rows = {}, []
    for line in path.read_bytes().decode("ascii").split("\n"):
        assert len(line) < 250
        if line and (line[0].isdigit() or line[0] == "-"):
            rows.append(tuple(map(float, line.split(" "))))
        elif line:
            assert not rows, "keywords come before the table"
            keyword, _, value = line.partition(" ")
            keywords[keyword] = value
    return keywords, rows


def apply_cube(path: Path, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """By Pillow, which interpolates between eight points."""
    keywords, rows = read_cube(path)
    lut = ImageFilter.Color3DLUT(int(keywords["LUT_3D_SIZE"]), rows)
    return np.asarray(Image.fromarray(photo).filter(lut))


def delta_e(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    return deltaE_ciede2000(rgb2lab(one), rgb2lab(other))


def test_a_file_holds_what_editors_read(tmp_path: Path) -> None:
    axis = np.arange(3, dtype=np.float32) / 2
    table = np.stack(np.meshgrid(axis, axis**2, axis**3, indexing="ij"), axis=-1)  # red at table[r], and so on
    path = tmp_path / 'Café "noir".cube'
    ColorLUT(table).save(path)
    keywords, rows = read_cube(path)
    assert keywords == {
        "TITLE": "\"Caf? 'noir'\"",
        "LUT_3D_SIZE": "3",
        "DOMAIN_MIN": "0 0 0",
        "DOMAIN_MAX": "1 1 1",
    }
    assert len(rows) == 27
    assert rows[:4] == [(0, 0, 0), (0.5, 0, 0), (1, 0, 0), (0, 0.25, 0)]  # red changes fastest
    assert rows[9] == (0, 0, 0.125)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_long_title_keeps_to_the_formats_line(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 240}.cube"
    ColorLUT(np.zeros((2, 2, 2, 3), np.float32)).save(path)
    assert read_cube(path)[0]["TITLE"] == f'"{"x" * 200}"'


def test_the_table_is_indexed_by_red_green_and_blue(transfer: ColorTransfer) -> None:
    lut = transfer.lut(PAIRS["weak"].source, PAIRS["weak"].reference, size=5)
    assert lut.table.shape == (5, 5, 5, 3)
    assert lut.table.dtype == np.float32
    color = torch.tensor([0.75, 0.25, 0.5])[:, None, None]
    expected = transfer.network.map(color)[:, 0, 0]
    torch.testing.assert_close(torch.from_numpy(lut.table[3, 1, 2]), expected)


def test_strength_is_in_the_table(transfer: ColorTransfer) -> None:
    pair = PAIRS["weak"].source, PAIRS["weak"].reference
    none, half, full = (transfer.lut(*pair, strength=strength).table for strength in (0, 0.5, 1))
    axis = np.linspace(0, 1, LATTICE_SIZE, dtype=np.float32)
    np.testing.assert_allclose(none, np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1), atol=1e-7)
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-6)
    assert np.abs(full - none).max() > 0.1


@pytest.mark.parametrize("size", [1, 257])
def test_a_size_that_the_format_lacks_is_refused(transfer: ColorTransfer, size: int) -> None:
    with pytest.raises(ConfigError, match=f"2 to 256 points along each axis, got {size}"):
        transfer.lut(PAIRS["weak"].source, PAIRS["weak"].reference, size)


def test_a_strength_out_of_range_is_refused(transfer: ColorTransfer) -> None:
    with pytest.raises(ConfigError, match="strength must be from 0"):
        transfer.lut(PAIRS["weak"].source, PAIRS["weak"].reference, strength=1.5)


def test_a_network_that_sees_surroundings_gives_no_lut() -> None:
    with pytest.raises(ConfigError, match="draws each pixel by its surroundings, so no table"):
        ColorTransfer(ColorTransferNetwork(TINY)).lut(PAIRS["weak"].source, PAIRS["weak"].reference)


def check_reader_agrees(transfer: ColorTransfer, name: str, strength: float, path: Path) -> None:
    """Acceptance: a standard reader gives the picture of the transfer within delta E 1, mean and 95th percentile."""
    _, source, reference = PAIRS[name]
    transfer.lut(source, reference, strength=strength).save(path)
    difference = delta_e(apply_cube(path, source), transfer.transfer(source, reference, strength=strength))
    assert difference.mean() < 1
    assert np.percentile(difference, 95) < 1


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", PAIRS)
def test_a_standard_reader_gives_the_picture_of_the_map(
    transfer: ColorTransfer, name: str, strength: float, tmp_path: Path
) -> None:
    check_reader_agrees(transfer, name, strength, tmp_path / "look.cube")
    _, source, reference = PAIRS[name]
    assert delta_e(source, transfer.transfer(source, reference, strength=strength)).mean() > 2  # so there is a map


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", PAIRS)
def test_a_standard_reader_gives_the_picture_of_the_weights_that_ship(
    name: str, strength: float, tmp_path: Path
) -> None:
    check_reader_agrees(ColorTransfer.load(), name, strength, tmp_path / "look.cube")


@pytest.mark.parametrize("name", PAIRS)
def test_the_lut_of_the_weights_that_ship_is_near_their_map(name: str, tmp_path: Path) -> None:
    transfer = ColorTransfer.load()
    _, source, reference = PAIRS[name]
    transfer.lut(source, reference).save(tmp_path / "look.cube")
    photos = [torch.from_numpy(photo.transpose(2, 0, 1)).unsqueeze(0) for photo in (source, reference)]
    with torch.inference_mode():
        exact = transfer.network.lattice(*photos, uint8_to_rgb(photos[0])[0].flatten(1).T, transfer.working_size)
    difference = delta_e(apply_cube(tmp_path / "look.cube", source), exact.view(source.shape).numpy())
    assert difference.mean() < 1.5  # the pair of unlike photos has the steepest map


def test_the_lut_of_a_photo_with_transparency_is_that_of_what_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = PAIRS["weak"]
    source = Image.fromarray(pair.source).resize((96, 64)).convert("RGBA")
    hidden = np.asarray(source).copy()
    hidden[:32] = (255, 0, 255, 0)  # a colour that nobody sees
    Image.fromarray(hidden).save("source.png")
    Image.fromarray(pair.reference).resize((96, 96)).save("reference.png")
    words = ["--data.source", "source.png", "--data.reference", "reference.png", "--output", "out"]
    assert main(["predict", *words, "--lut", "look.cube", "--trainer.accelerator", "cpu"]) == 0
    with Image.open("out/source__reference.png") as image:
        wanted = np.asarray(image)[32:, :, :3].astype(int)
    looked_up = apply_cube(Path("look.cube"), np.ascontiguousarray(hidden[32:, :, :3])).astype(int)
    assert np.abs(looked_up - wanted).mean() < 1
