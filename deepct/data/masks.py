"""Reading label maps: palette or grey PNG, NumPy files, and the pickled arrays that the report's authors published."""

import io
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepct.ade20k import CLASSES
from deepct.data.files import File, opened
from deepct.errors import ImageError
from deepct.histogram import UNLABELLED

NUM_CLASSES = len(CLASSES)
"""Classes of ADE20K, labelled 0 to 149."""

MASK_SUFFIXES = (".png", ".npy")
ASPECT_TOLERANCE = 0.03
"""By how much the aspect ratios of a label map and its photo may differ: small maps are rounded to whole pixels."""

_NPY_MAGIC = b"\x93NUMPY"


def find_mask(folder: str | Path, stem: str) -> Path | None:
    """The label map of the photo with this stem, if the folder has one."""
    candidates = (Path(folder) / f"{stem}{suffix}" for suffix in MASK_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def read_mask(path: str | File) -> NDArray[np.uint8]:
    """Read a label map.

    Returns:
        (H, W) uint8: 0 to 149, or 255 where there is no label.

    Raises:
        ImageError: unreadable, not one plane of integers, or a label out of range; the message names the file.
    """
    try:
        labels = _read_npy(Path(str(path))) if str(path).endswith(".npy") else _read_png(path)
    except Exception as error:  # decoders raise nearly anything on broken files
        raise ImageError(
            f"{path}: cannot be read as a label map ({str(error) or type(error).__name__}); expected a palette or grey "
            "PNG, or a NumPy file, with one label for each pixel"
        ) from error
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "iub":
        raise ImageError(f"{path}: a label map is one plane of integers, this is {labels.dtype} {labels.shape}")
    wrong = labels[~valid_labels(labels)]
    if wrong.size:
        raise ImageError(
            f"{path}: label {int(wrong[0])} is out of range ({wrong.size} pixels); expected 0 to {NUM_CLASSES - 1}, "
            f"or {UNLABELLED} for none. Files of ADE20K itself count from 1: subtract 1"
        )
    return labels.astype(np.uint8)


def check_aspect(mask: File, mask_size: tuple[int, ...], photo: File, photo_size: tuple[int, ...]) -> None:
    """Check that a label map can be laid over its photo; both sizes are (height, width).

    Raises:
        ImageError: their aspect ratios differ; the message names both files.
    """
    (height, width), (photo_height, photo_width) = mask_size, photo_size
    if not same_aspect(mask_size, photo_size):
        raise ImageError(
            f"{mask} has {width} x {height} px and its photo {photo} has {photo_width} x {photo_height} px; a label "
            "map may be smaller but needs the same aspect ratio"
        )


def same_aspect(mask_size: tuple[int, ...], photo_size: tuple[int, ...]) -> bool:
    """Whether a label map can be laid over a photo; both sizes are (height, width)."""
    (height, width), (photo_height, photo_width) = mask_size, photo_size
    return abs(photo_width * height / (photo_height * width) - 1) <= ASPECT_TOLERANCE


def valid_labels(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which integers are labels: 0 to 149, and 255 for none."""
    return ((labels >= 0) & (labels < NUM_CLASSES)) | (labels == UNLABELLED)


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Resize a label map to (height, width) by the nearest label."""
    if labels.shape == size:
        return labels
    rows, columns = ((np.arange(n) * full + full // 2) // n for n, full in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]  # without torch, whose threads do not live on in forked processes


def _read_png(path: str | File) -> NDArray[Any]:
    with opened(path) as file, Image.open(file) as image:
        if image.mode not in ("P", "L", "1", "I", "I;16"):
            raise ValueError(f"it holds colours ({image.mode}), not labels")
        return np.asarray(image)


def _read_npy(path: Path) -> NDArray[Any]:
    data = path.read_bytes()
    if data.startswith(_NPY_MAGIC):
        return np.load(io.BytesIO(data), allow_pickle=False)
    array = _ArrayReader(io.BytesIO(data)).load()
    if not isinstance(array, _Array) or array.values is None:
        raise ValueError(f"it holds a {type(array).__name__}, not an array")
    return array.values


class _Dtype:
    """A type of integers as a pickle describes it; of anything else that it says, nothing is believed."""

    def __init__(self, name: str, *_: bool) -> None:
        if not re.fullmatch("[<>|=]?([iu][1248]|b1)", name):
            raise pickle.UnpicklingError(f"{name!r} is not allowed; a label map holds integers")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array as a pickle describes it: NumPy's own would trust what the file says of its memory."""

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        self.values = values

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        self.values = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if is_fortran else "C")


class _ArrayReader(pickle._Unpickler):
    """Admits arrays of integers and nothing else, so that a label map cannot run code.

    It is Python's own reader rather than the one in C, which believes a file that asks for gigabytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"):
            module = "numpy"
        admitted = {
            ("_codecs", "encode"): self._latin1,
            ("numpy", "_reconstruct"): self._reconstruct,
            ("numpy", "_frombuffer"): self._frombuffer,
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a label map")
        return admitted[module, name]

    def _latin1(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed in a label map")
        return text.encode("latin1")

    def _reconstruct(self, *_: Any) -> _Array:
        return _Array()

    def _frombuffer(self, data: bytes, kind: _Dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> _Array:
        return _Array(np.frombuffer(data, kind.dtype).reshape(shape, order=order))
