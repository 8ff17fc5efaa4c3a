"""The fast student before any training: what its first guess is worth, with label maps and without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab

from deepct.cli import find_config
from deepct.data.image import to_pixels, to_planes
from deepct.data.retouch import EXPERTS
from deepct.data.samples import load_sample
from deepct.errors import ConfigError
from deepct.networks import ColorTransferNetwork, NetworkConfig
from deepct.semantics import DEFAULT, Semantics

Photo = NDArray[np.uint8]
PAIRS = [("coffee", "rocket"), ("astronaut", "chelsea"), ("rocket", "motorcycle_left"), ("chelsea", "ihc")]


@pytest.fixture(scope="module")
def student() -> ColorTransferNetwork:
    settings = yaml.safe_load(find_config("configs/student-fast.yaml").read_text())
    torch.manual_seed(0)
    return ColorTransferNetwork(NetworkConfig(**settings["model"]["init_args"]["network"])).eval()


def recolor(
    network: ColorTransferNetwork, source: Photo, reference: Photo, labels: Photo | None = None, semantics=DEFAULT
) -> Photo:
    """Recolour (H, W, 3) photos; the label map is that of both."""
    photos = (to_planes(photo).unsqueeze(0) for photo in (source, reference))
    both = None if labels is None else torch.from_numpy(labels).unsqueeze(0)
    return to_pixels(network.recolor(*photos, both, both, semantics=semantics)[0])


def delta_e(a: Photo, b: Photo) -> float:
    return float(deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).mean())


def side_by_side(left: Photo, right: Photo) -> tuple[Photo, Photo]:
    """Two photos as one, 240 x 480 px, and its label map."""
    photo = np.concatenate((left[:240, :240], right[:240, :240]), axis=1)
    labels = np.zeros((240, 480), np.uint8)
    labels[:, 240:] = 2
    return photo, labels


@pytest.mark.parametrize("semantics", [DEFAULT, Semantics(feather=0.0)], ids=["feathered", "hard"])
def test_label_maps_halve_the_error_where_regions_have_looks_of_their_own(
    student: ColorTransferNetwork, semantics: Semantics
) -> None:
    without, with_maps = [], []
    for names in PAIRS:
        photos = [load_sample(name) for name in names]
        source, labels = side_by_side(*photos)
        truth, _ = side_by_side(EXPERTS["b"].apply(photos[0]), EXPERTS["e"].apply(photos[1]))
        without.append(delta_e(recolor(student, source, truth), truth))
        with_maps.append(delta_e(recolor(student, source, truth, labels, semantics), truth))
    assert np.mean(with_maps) < 0.5 * np.mean(without)


def test_no_seam_shows_where_regions_meet_in_a_smooth_sky(student: ColorTransferNetwork) -> None:
    """Gradients at the border, over the source's own, are at most a tenth above those elsewhere."""
    rng = np.random.default_rng(0)
    glow = np.linspace(110, 190, 480)[None, :, None] + np.array((-25, 0, 25)) + rng.normal(0, 1.5, (320, 480, 3))
    source = np.clip(glow, 0, 255).astype(np.uint8)
    labels = np.where(np.arange(320)[:, None] < 160, 2, 16).repeat(480, 1).astype(np.uint8)
    looks = (EXPERTS[name].apply(source) for name in "ae")
    reference = np.where(labels[..., None] == 2, *looks)

    def excess(semantics: Semantics) -> float:
        result = recolor(student, source, reference, labels, semantics)
        mine, own = (np.hypot(*np.gradient(rgb2lab(photo)[..., 0])).mean(1) for photo in (result, source))
        rise = mine / own
        return rise[155:165].mean() / np.concatenate((rise[:60], rise[-60:])).mean()

    assert excess(DEFAULT) < 1.1
    assert excess(replace(DEFAULT, feather=0.0)) > 1.5


def test_colours_change_within_a_region_as_its_look_says(student: ColorTransferNetwork) -> None:
    """Each region's inside goes its own way, though borders are feathered."""
    photos = load_sample("coffee"), load_sample("rocket")
    source, labels = side_by_side(*photos)
    truth, _ = side_by_side(EXPERTS["b"].apply(photos[0]), EXPERTS["e"].apply(photos[1]))
    feathered = recolor(student, source, truth, labels)
    hard = recolor(student, source, truth, labels, Semantics(feather=0.0))
    inside = np.r_[0:150, 330:480]
    assert delta_e(feathered[:, inside], hard[:, inside]) < 0.5


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_a_photo_that_is_its_own_reference_is_left_alone(student: ColorTransferNetwork, name: str) -> None:
    photo = load_sample(name)
    assert delta_e(recolor(student, photo, photo), photo) < 0.2
    assert delta_e(recolor(student, photo, photo[:, ::-1].copy()), photo) < 0.2
    blurred = gaussian_filter(photo, (20, 20, 0))
    assert delta_e(recolor(student, photo, blurred), photo) > 1  # colours do count


def test_a_guess_is_there_to_be_changed() -> None:
    with pytest.raises(ConfigError, match=r"network\.residual true"):
        ColorTransferNetwork(NetworkConfig(guess=True))
