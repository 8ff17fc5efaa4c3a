import torch

from deepct.color import rgb_to_normalized
from deepct.evaluation.reading import read_pair

BARE = torch.full((64, 64), 255, dtype=torch.uint8)


def flat(*colours: tuple[float, float, float]) -> torch.Tensor:
    """Stripes of these colours, 64 px."""
    rgb = torch.tensor(colours).T.repeat_interleave(64 // len(colours), 1)[:, None].expand(3, 64, 64)
    return rgb_to_normalized(rgb.contiguous())


def test_colours_are_those_of_both_photos_each_once() -> None:
    red, blue, green = (1.0, 0, 0), (0, 0, 1.0), (0, 1.0, 0)
    assert read_pair(flat(red), flat(red), BARE)["colors"] == 1
    assert read_pair(flat(red, blue), flat(red), BARE)["colors"] == 2
    assert read_pair(flat(red, blue), flat(green, red), BARE)["colors"] == 3


def test_a_colour_of_few_pixels_does_not_count() -> None:
    photo = flat((1.0, 0, 0))
    photo[:, :4, :4] = flat((0, 0, 1.0))[:, :4, :4]  # 16 of 4096
    assert read_pair(photo, photo, BARE)["colors"] == 1
    photo[:, :8, :4] = flat((0, 0, 1.0))[:, :8, :4]
    assert read_pair(photo, photo, BARE)["colors"] == 2


def test_labels_count_where_they_are_large_enough() -> None:
    labels = BARE.clone()
    assert read_pair(flat((1.0, 0, 0)), flat((1.0, 0, 0)), labels)["labels"] == 0
    labels[:8] = 3
    labels[8:16] = 7
    labels[20, :30] = 9  # 30 px
    assert read_pair(flat((1.0, 0, 0)), flat((1.0, 0, 0)), labels)["labels"] == 2


def test_edges_are_steps_of_lightness() -> None:
    assert read_pair(flat((0.5, 0.5, 0.5)), flat((1.0, 0, 0)), BARE)["edges"] == 0
    assert read_pair(flat((0, 0, 0), (1.0, 1.0, 1.0)), flat((1.0, 0, 0)), BARE)["edges"] == 64 / 4096
