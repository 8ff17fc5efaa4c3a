"""One pair, every method: the pictures, and what is measured of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepct.color import uint8_to_rgb
from deepct.data.image import to_planes
from deepct.errors import DeepctError
from deepct.evaluation.artifacts import banding, new_clipping, structure
from deepct.evaluation.lab import Photo
from deepct.evaluation.methods import Method
from deepct.evaluation.metrics import color_quantiles, delta_e_2000, image_loss, picture_metrics, sliced_wasserstein
from deepct.evaluation.tracks import Case, Photos, ProtocolCase, TrustCase
from deepct.sheet import thumbnail

THUMBNAIL = 150
"""Height of the pictures on a contact sheet, px."""

IDENTICAL_WEIGHT = 0.5
"""What the image loss of the protocol's identical pairs counts."""


class Row(NamedTuple):
    """What one method did to one pair.

    Attributes:
        track: the pair's.
        pair: its name.
        method: the method's.
        measures: by name; those that the track has not are left out.
    """

    track: str
    pair: str
    method: str
    measures: dict[str, float]


@dataclass
class Verdict:
    """What became of a pair.

    Attributes:
        case: the pair.
        rows: one for each method that did it.
        problems: what could not be done.
        pictures: thumbnails of source, reference, truth and each method's result, by those names, if wanted.
    """

    case: Case
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    pictures: dict[str, Photo] = field(default_factory=dict)


def judge(case: Case, methods: Sequence[Method], size: int, pictures: bool = False) -> Verdict:
    """Run every method on a pair. Neither a photo nor a method that fails costs anything but itself.

    Args:
        case: the pair.
        methods: those that do not serve it are passed over.
        size: at most how long the photos' long side is, px.
        pictures: whether thumbnails are wanted.
    """
    verdict = Verdict(case)
    try:
        photos = case.read(size)
    except (DeepctError, OSError) as error:
        verdict.problems.append(str(error))
        return verdict
    quantiles = color_quantiles(photos.reference)
    shown = {"source": photos.source, "reference": photos.reference}
    for method in methods:
        if not method.serves(case, photos):
            continue
        try:
            method.prepare()
            start = time.perf_counter()
            result = method.recolor(photos)
            seconds = time.perf_counter() - start
            if isinstance(case, TrustCase):
                mirror = photos.reference[:, ::-1].copy()
                mirrored = method.recolor(photos._replace(reference=mirror))
                measures = measure_trust(photos.source, result, mirrored)
                shown["reference"], result = mirror, mirrored
            else:
                measures = measure(case, photos, result, quantiles)
        except Exception as error:  # libraries raise nearly anything on odd photos
            reason = str(error) or type(error).__name__
            verdict.problems.append(f"{case.track} {case.name}: {method.name} failed ({reason})")
            continue
        shown[method.name] = result
        verdict.rows.append(Row(case.track, case.name, method.name, {**measures, "seconds": seconds}))
    if pictures:
        if photos.truth is not None and photos.truth is not photos.reference:
            shown["truth"] = photos.truth
        verdict.pictures = {name: thumbnail(photo, THUMBNAIL) for name, photo in shown.items()}
    return verdict


def measure(case: Case, photos: Photos, result: Photo, quantiles: NDArray[np.float32]) -> dict[str, float]:
    """Compare a result with the truth, where there is one, the reference and the source.

    Args:
        case: the pair.
        photos: it, read.
        result: (H, W, 3) uint8 sRGB of the source's size.
        quantiles: the reference's :func:`color_quantiles`.

    Returns:
        ``image_loss``, ``psnr``, ``ssim``, ``delta_e_mean``, ``delta_e_median``, ``delta_e_p95``; ``swd``;
        ``structure``, ``new_clipping``, ``banding``. Of the protocol's identical pairs the image loss alone, halved: in
        them any photo that is kept is right.
    """
    measures: dict[str, float] = {}
    if photos.truth is not None:
        measures["image_loss"] = image_loss(result, photos.truth)
        if isinstance(case, ProtocolCase) and case.identical:
            return {"image_loss": IDENTICAL_WEIGHT * measures["image_loss"]}
        measures |= picture_metrics(*(uint8_to_rgb(to_planes(photo)) for photo in (result, photos.truth)))
    return measures | {
        "swd": sliced_wasserstein(color_quantiles(result), quantiles),
        "structure": structure(result, photos.source),
        "new_clipping": new_clipping(result, photos.source),
        "banding": banding(result, photos.source),
    }


def measure_trust(source: Photo, result: Photo, mirrored: Photo) -> dict[str, float]:
    """What becomes of a photo that is its own reference, as mean delta E 2000.

    Args:
        source: (H, W, 3) uint8 sRGB.
        result: with the photo as reference.
        mirrored: with the mirrored photo as reference.

    Returns:
        ``identity_delta_e``, from the photo to ``result``; ``mirror_delta_e``, from the photo to ``mirrored``;
        ``mirror_change``, from one result to the other.
    """
    pairs = {
        "identity_delta_e": (source, result),
        "mirror_delta_e": (source, mirrored),
        "mirror_change": (result, mirrored),
    }
    return {name: float(delta_e_2000(a / 255.0, b / 255.0).mean()) for name, (a, b) in pairs.items()}
