"""Label maps, the honest and the hostile ones."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepct.data.masks import check_aspect, find_mask, read_mask
from deepct.errors import ImageError

LABELS = np.array([[0, 1, 2, 3], [149, 255, 77, 0], [5, 5, 255, 148]], np.uint8)
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "fivek"


def write_pickle(path: Path, content: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def test_a_grey_png_is_exact(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "m.png")
    labels = read_mask(tmp_path / "m.png")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, LABELS)


def test_a_palette_png_gives_its_indices_not_its_colours(tmp_path: Path) -> None:
    mask = Image.fromarray(LABELS, "P")
    mask.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    mask.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), LABELS)


@pytest.mark.parametrize("colors", [2, 4, 16])
def test_a_palette_png_of_few_bits_is_exact(tmp_path: Path, colors: int) -> None:
    labels = np.random.default_rng(0).integers(0, colors, (7, 9), dtype=np.uint8)
    mask = Image.fromarray(labels, "P")
    mask.putpalette(list(range(3 * colors)))
    mask.save(tmp_path / "m.png", bits=colors.bit_length() - 1)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), labels)


def test_a_16_bit_png_is_exact(tmp_path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint16])
def test_a_numpy_file_is_exact(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "m.npy", LABELS.astype(dtype))
    labels = read_mask(tmp_path / "m.npy")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_pickled_array_under_an_npy_name_is_exact(tmp_path: Path, dtype: Any, protocol: int) -> None:
    path = write_pickle(tmp_path / "m.npy", LABELS.astype(dtype), protocol)
    np.testing.assert_array_equal(read_mask(path), LABELS)


def test_a_pickle_of_numpy_1_is_read_too(tmp_path: Path) -> None:
    data = pickle.dumps(LABELS, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in data
    (tmp_path / "m.npy").write_bytes(data)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy"), LABELS)


def test_a_pickled_array_in_fortran_order_is_exact(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(write_pickle(tmp_path / "m.npy", np.asfortranarray(LABELS))), LABELS)


class _Call:
    """Unpickling it calls a function, if the unpickler lets it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _object_array(content: Any) -> NDArray[Any]:
    array = np.empty((1, 1), object)
    array[0, 0] = content
    return array


def _attacks(marker: str) -> dict[str, Any]:
    system = _Call(os.system, f"touch '{marker}'")
    evaluate = _Call(eval, f"open({marker!r}, 'w').close()")
    return {
        "os.system": system,
        "builtins.eval": evaluate,
        "builtins.exec": _Call(exec, f"open({marker!r}, 'w').close()"),
        "open for writing": _Call(open, marker, "w"),
        "numpy.save": _Call(np.save, marker, LABELS),
        "in an object array": _object_array(system),
        "in a list beside an array": [LABELS, evaluate],
        "as an argument of a constructor": _Call(np.dtype, evaluate),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("attack", list(_attacks("")))
def test_a_malicious_pickle_does_not_run(tmp_path: Path, attack: str, protocol: int) -> None:
    marker = tmp_path / "it_ran.npy"
    path = write_pickle(tmp_path / "m.npy", _attacks(str(marker))[attack], protocol)
    with pytest.raises(ImageError, match=r"m\.npy: .*is not allowed"):
        read_mask(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.npy"]


@pytest.mark.parametrize("module", ["numpy", "numpy._core.multiarray", "_codecs"])
@pytest.mark.parametrize("name", ["ndarray.tofile", "_reconstruct.__self__", "encode.__call__", "getattr"])
def test_a_pickle_cannot_reach_for_attributes(tmp_path: Path, module: str, name: str) -> None:
    def short(text: str) -> bytes:
        return b"\x8c" + bytes([len(text)]) + text.encode()

    (tmp_path / "m.npy").write_bytes(b"\x80\x04" + short(module) + short(name) + b"\x93.")
    with pytest.raises(ImageError, match="is not allowed"):
        read_mask(tmp_path / "m.npy")


def test_codecs_may_encode_latin1_alone(tmp_path: Path) -> None:
    import _codecs

    path = write_pickle(tmp_path / "m.npy", _Call(_codecs.encode, "text", "rot13"))
    with pytest.raises(ImageError, match=r"rot13.*not allowed"):
        read_mask(path)


def test_an_object_array_in_numpys_own_format_is_not_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"
    np.save(tmp_path / "m.npy", _object_array(_Call(os.system, f"touch '{marker}'")), allow_pickle=True)
    with pytest.raises(ImageError, match=r"m\.npy"):
        read_mask(tmp_path / "m.npy")
    assert not marker.exists()


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"m\.npy: .*it holds a dict, not an array"):
        read_mask(write_pickle(tmp_path / "m.npy", {"labels": 1}))


@pytest.mark.parametrize("content", [b"", b"no label map", b"\x93NUMPY\x01\x00"], ids=["zero bytes", "text", "cut"])
@pytest.mark.parametrize("name", ["m.npy", "m.png"])
def test_what_is_no_label_map_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=rf"{name}: cannot be read as a label map.*expected a palette or grey PNG"):
        read_mask(tmp_path / name)


@pytest.mark.parametrize("label", [150, 254, -1, 256, 405])
def test_a_label_out_of_range_is_named_with_the_file(tmp_path: Path, label: int) -> None:
    labels = LABELS.astype(np.int64)
    labels[1, 2] = labels[2, 0] = label
    np.save(tmp_path / "m.npy", labels)
    with pytest.raises(ImageError, match=rf"m\.npy: label {label} is out of range \(2 pixels\).*0 to 149, or 255"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "m.png")
    with pytest.raises(ImageError, match=rf"m\.png: .*colours \({mode}\), not labels"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize(
    "labels", [LABELS.astype(np.float32), LABELS[None], LABELS.ravel(), np.array("text")], ids=lambda a: str(a.shape)
)
def test_an_array_that_is_not_one_plane_of_integers_is_refused(tmp_path: Path, labels: NDArray[Any]) -> None:
    np.save(tmp_path / "m.npy", labels)
    with pytest.raises(ImageError, match=r"m\.npy: a label map is one plane of integers"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("shape", [(0, 0), (5, 0), (0, 5)])
def test_an_empty_label_map_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "m.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match=r"m\.npy"):
        check_aspect(tmp_path / "m.npy", read_mask(tmp_path / "m.npy").shape, tmp_path / "p.jpg", (10, 10))


@pytest.mark.parametrize("mask_size", [(300, 200), (30, 20), (31, 21), (286, 191), (600, 400), (295, 200)])
def test_a_mask_of_about_the_same_aspect_ratio_is_accepted(mask_size: tuple[int, int]) -> None:
    check_aspect(Path("m.png"), mask_size, Path("p.jpg"), (300, 200))


@pytest.mark.parametrize("mask_size", [(200, 300), (300, 210), (290, 200), (256, 256)])
def test_a_mask_of_another_aspect_ratio_names_both_files_and_sizes(mask_size: tuple[int, int]) -> None:
    with pytest.raises(ImageError) as caught:
        check_aspect(Path("some/m.png"), mask_size, Path("other/p.jpg"), (300, 200))
    for part in ("some/m.png", f"{mask_size[1]} x {mask_size[0]} px", "other/p.jpg", "200 x 300 px", "aspect ratio"):
        assert part in str(caught.value)


def test_a_mask_is_found_by_stem(tmp_path: Path) -> None:
    for name in ("a.npy", "b.png", "c.jpg", "d.e.png"):
        (tmp_path / name).touch()
    assert find_mask(tmp_path, "a") == tmp_path / "a.npy"
    assert find_mask(tmp_path, "b") == tmp_path / "b.png"
    assert find_mask(tmp_path, "d.e") == tmp_path / "d.e.png"
    assert find_mask(tmp_path, "c") is None
    assert find_mask(tmp_path, "d") is None


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the FiveK photos with the published label maps are not here")
def test_the_published_label_maps_equal_their_png_copies() -> None:
    published = sorted((PUBLISHED / "masks_as_published").glob("*.npy"))
    assert published
    for path in published:
        np.testing.assert_array_equal(read_mask(path), np.asarray(Image.open(PUBLISHED / "masks" / f"{path.stem}.png")))
