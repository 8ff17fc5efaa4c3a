"""A folder of the files that cameras, editors, broken disks and pranksters leave, and what is to become of each."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from camera_files import BLUE, GREEN, RED, WHITE, icc_profile
from numpy.typing import NDArray
from PIL import Image

Outcome = Literal["done", "fails", "passed over"]
HEIGHT, WIDTH = 24, 36
_CUTS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
_SAVED: dict[str, list[dict[str, Any]]] = {
    "jpg": [{"quality": 95}, {"quality": 60, "progressive": True}],
    "png": [{}],
    "webp": [{"lossless": True}, {"quality": 80}],
    "tif": [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}],
}


class Hostile(NamedTuple):
    """One file.

    Attributes:
        kind: what is wrong with it, or odd.
        name: the file's, in bytes, for not all names are text.
        outcome: ``done``: a picture is made; ``fails``: a sentence names it; ``passed over``: it is no photo.
        size: height and width of the upright picture.
        says: what the sentence says.
    """

    kind: str
    name: bytes
    outcome: Outcome
    size: tuple[int, int] = (HEIGHT, WIDTH)
    says: str = "cannot be read as a photo"


def pixels(height: int = HEIGHT, width: int = WIDTH, channels: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    """(height, width, channels) of soft noise; one channel gives no axis."""
    top = np.iinfo(dtype).max
    soft = cv2.resize(np.random.default_rng(height + width).random((4, 5, channels)), (width, height))
    return np.rint(soft.reshape(height, width, *[channels][: channels > 1]) * top).astype(dtype)


def bomb(height: int, width: int) -> bytes:
    """A PNG of some kilobytes that claims to be this large, and is: black."""
    row = bytes(1 + -(-width // 8))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class Corpus:
    """Makes the files.

    Args:
        folder: where to; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = os.fsencode(folder)
        self.files: list[Hostile] = []

    def place(self, name: str | bytes) -> str:
        """The path of a file in the folder."""
        return os.fsdecode(self.folder + b"/" + (name if isinstance(name, bytes) else os.fsencode(name)))

    def add(self, kind: str, name: str | bytes, outcome: Outcome, **more: Any) -> str:
        """Promise a file, and say where it goes."""
        encoded = name if isinstance(name, bytes) else os.fsencode(name)
        self.files.append(Hostile(kind, encoded, outcome, **more))
        return self.place(encoded)

    def save(self, kind: str, name: str | bytes, image: Image.Image, outcome: Outcome = "done", **options: Any) -> None:
        """Promise a picture and write it by Pillow; its size is the image's."""
        size = options.pop("size", image.size[::-1])
        says = options.pop("says", "cannot be read as a photo")
        data = io.BytesIO()
        image.save(data, options.pop("format", None) or _format(name), **options)
        Path(self.add(kind, name, outcome, size=size, says=says)).write_bytes(data.getvalue())

    def write(self, kind: str, name: str | bytes, data: bytes, outcome: Outcome = "fails", **more: Any) -> None:
        """Promise a file of this content."""
        Path(self.add(kind, name, outcome, **more)).write_bytes(data)


def make_corpus(folder: Path) -> list[Hostile]:
    """Fill a folder; what it holds, each with its outcome."""
    corpus = Corpus(folder)
    for make in (
        _truncated,
        _not_photos,
        _shapes,
        _kinds,
        _turned,
        _profiles,
        _deep,
        _bombs,
        _names,
        _not_files,
        _exif,
    ):
        make(corpus)
    assert len({file.name for file in corpus.files}) == len(corpus.files)
    return corpus.files


def _format(name: str | bytes) -> str:
    suffix = os.fsdecode(name).rpartition(".")[2].lower()
    return {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(suffix, suffix.upper())


def _truncated(corpus: Corpus) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    files = {
        f"{suffix}{index}.{suffix}": _bytes(Image.fromarray(noise), _format(f"x.{suffix}"), **options)
        for suffix, all_options in _SAVED.items()
        for index, options in enumerate(all_options)
    }
    deep = pixels(64, 96, 3, np.uint16) ^ np.random.default_rng(1).integers(0, 9999, (64, 96, 3), dtype=np.uint16)
    for suffix in ("png", "tif"):
        files[f"deep.{suffix}"] = cv2.imencode(f".{suffix}", deep)[1].tobytes()
    for name, data in files.items():
        stem, _, suffix = name.partition(".")
        for share in _CUTS:
            corpus.write("truncated", f"cut-{stem}-{suffix}-{share}.{suffix}", data[: int(len(data) * share)])
        for count in (1, 3, 7, 11, 20, 40):
            corpus.write("truncated", f"cut-{stem}-{suffix}-{count}-bytes.{suffix}", data[:count])
        if suffix == "png":
            middle = len(data) // 2
            spoilt = data[:middle] + bytes(64) + data[middle + 64 :]
            corpus.write("spoilt in the middle", f"spoilt-{name}", spoilt)


def _bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def _not_photos(corpus: Corpus) -> None:
    photo = Image.fromarray(pixels())
    for suffix in ("jpg", "jpeg", "png", "webp", "tif", "tiff"):
        corpus.write("empty", f"empty-{suffix}.{suffix}", b"", says="the file is empty")
        corpus.write("text", f"text-{suffix}.{suffix}", b"Dear diary, this is not a photo.\n" * 20)
        corpus.write("noise", f"noise-{suffix}.{suffix}", np.random.default_rng(5).bytes(3000))
        corpus.write("postscript", f"ps-{suffix}.{suffix}", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
        for other in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
            if other != _format(f"x.{suffix}"):
                name = f"really-{other}-{suffix}.{suffix}"
                corpus.write("wrong extension", name, _bytes(photo, other), "done")
    corpus.write("other suffix", "notes.txt", b"notes", "passed over")
    corpus.write("other suffix", "clip.gif", _bytes(photo, "GIF"), "passed over")
    corpus.write("hidden", ".hidden.jpg", _bytes(photo, "JPEG"), "passed over")
    corpus.write("hidden", "._one.jpg", b"\0\5\x16\7", "passed over")


def _shapes(corpus: Corpus) -> None:
    for suffix in ("jpg", "png", "webp", "tif"):
        corpus.save("one pixel", f"one-{suffix}.{suffix}", Image.new("RGB", (1, 1), (9, 99, 199)))
        long = 16000 if suffix == "webp" else 20000
        corpus.save("long line", f"row-{suffix}.{suffix}", Image.fromarray(pixels(1, long)))
        corpus.save("long line", f"column-{suffix}.{suffix}", Image.fromarray(pixels(long, 1)))
        for side in (2, 3, 7):
            corpus.save("tiny", f"tiny{side}-{suffix}.{suffix}", Image.fromarray(pixels(side, side + 1)))


def _kinds(corpus: Corpus) -> None:
    photo = Image.fromarray(pixels())
    for suffix in ("jpg", "png", "webp", "tif"):
        corpus.save("grey", f"grey-{suffix}.{suffix}", photo.convert("L"))
        color = (7, 7, 7)
        corpus.save("one colour", f"flat-{suffix}.{suffix}", Image.new("RGB", (WIDTH, HEIGHT), color))
    for suffix in ("jpg", "tif"):
        corpus.save("cmyk", f"cmyk-{suffix}.{suffix}", photo.convert("CMYK"))
    for suffix in ("png", "tif"):
        corpus.save("black and white", f"bw-{suffix}.{suffix}", photo.convert("1"))
        corpus.save("palette", f"palette-{suffix}.{suffix}", photo.quantize(16))
    for index, clear in enumerate((3, bytes(range(0, 256, 16)))):
        corpus.save("palette with transparency", f"clear{index}.png", photo.quantize(16), transparency=clear)
    for name, key in (("rgb", (9, 9, 9)), ("grey", 9)):
        corpus.save("colour key", f"key-{name}.png", photo.convert("RGB" if name == "rgb" else "L"), transparency=key)
    veiled = Image.fromarray(pixels(channels=4))
    for suffix in ("png", "webp", "tif"):
        options = {"lossless": True} if suffix == "webp" else {}
        corpus.save("alpha", f"alpha-{suffix}.{suffix}", veiled, **options)
        if suffix != "webp":
            corpus.save("grey and alpha", f"la-{suffix}.{suffix}", veiled.convert("LA"))
        nothing = veiled.copy()
        nothing.putalpha(0)
        corpus.save("invisible", f"invisible-{suffix}.{suffix}", nothing, **options)
    frames = [Image.fromarray(np.roll(pixels(), 5 * index, 0)) for index in range(1, 4)]
    for suffix, kind in (("webp", "WEBP"), ("png", "PNG"), ("tif", "TIFF"), ("jpg", "GIF")):
        name = f"moving-{kind}.{suffix}"
        corpus.save("animated", name, photo, format=kind, save_all=True, append_images=frames)
    corpus.save("lab", "lab.tif", Image.fromarray(pixels(), "LAB"))


def _turned(corpus: Corpus) -> None:
    photo = Image.fromarray(pixels())
    for orientation in (0, *range(1, 9), 9, 255, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        size = (WIDTH, HEIGHT) if 5 <= orientation <= 8 else (HEIGHT, WIDTH)
        for suffix in ("jpg", "png", "webp", "tif"):
            if suffix != "tif" or orientation <= 8:
                corpus.save("turned", f"turned{orientation}-{suffix}.{suffix}", photo, exif=exif, size=size)


def _profiles(corpus: Corpus) -> None:
    photo = Image.fromarray(pixels())
    wide = icc_profile(b"RGB ", wtpt=WHITE, rXYZ=RED, gXYZ=GREEN, bXYZ=BLUE, rTRC=1.0, gTRC=1.8, bTRC=1.0)
    grey = icc_profile(b"GRAY", wtpt=WHITE, kTRC=1.5)
    profiles = {
        "wide": wide,
        "grey": grey,
        "text": b"no profile",
        "cut": wide[:200],
        "noise": wide[:128] + b"\xff" * 99,
    }
    for suffix in ("jpg", "png", "webp", "tif"):
        for name, profile in profiles.items():
            corpus.save("profile", f"profile-{name}-{suffix}.{suffix}", photo, icc_profile=profile)


def _deep(corpus: Corpus) -> None:
    for suffix in ("png", "tif"):
        for channels in (1, 3, 4):
            name = f"deep{channels}-{suffix}.{suffix}"
            encoded = cv2.imencode(f".{suffix}", pixels(channels=channels, dtype=np.uint16))[1].tobytes()
            corpus.write("16 bits", name, encoded, "done")
    lit = Image.fromarray(pixels(channels=1).astype(np.float32))
    odd = np.asarray(lit).copy()
    odd[3, 4] = np.nan
    for name, image in (("hdr", lit), ("nan", Image.fromarray(odd)), ("long", lit.convert("I"))):
        corpus.save("32 bits", f"{name}.tif", image, "fails", says="save it with 8 or 16")
    for name, value in (("hdr-rgb", 0.5), ("nan-rgb", np.nan)):
        data = cv2.imencode(".tif", np.full((HEIGHT, WIDTH, 3), value, np.float32))[1].tobytes()
        corpus.write("32 bits", f"{name}.tif", data, says="save it with 8 or 16")


def _bombs(corpus: Corpus) -> None:
    for name, side in (("bomb.png", 30000), ("big bomb.png", 60000)):
        corpus.write("bomb", name, bomb(side, side), says="has more than the 500,000,000 pixels")
    header = _bytes(Image.new("1", (8, 8)), "PNG")
    huge = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    body = b"IHDR" + huge + header[24:29]
    corpus.write("bomb", "claims.png", header[:12] + body + struct.pack(">I", zlib.crc32(body)) + header[33:], says="")


def _names(corpus: Corpus) -> None:
    photo = Image.fromarray(pixels())
    for name in (
        *("with spaces.jpg", " led by one.jpg", "\U0001f600 \U0001f468\u200d\U0001f469.jpg", "new\nline.jpg"),
        *("-rf.jpg", "--output.jpg", "tab\tand\x1b[31m.jpg", "dots...jpg", "UPPER.JPG", "100%s{0}.jpg", "a*b?[c].jpg"),
        *("quote'\".jpg", "back\\slash.jpg", "$HOME.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "__.jpg", "a__b.jpg"),
        "\u202egpj.jpg",
    ):
        corpus.save("name", name, photo, format="JPEG")
    corpus.save("name", b"latin1-\xe9.jpg", photo, format="JPEG")
    corpus.save("name", b"\xff\xfe.jpg", photo, format="JPEG")
    corpus.save("name", "n" * 240 + ".jpg", photo, format="JPEG")
    corpus.write("name of what fails", b"bad-\xe9\n.jpg", b"no photo")


def _not_files(corpus: Corpus) -> None:
    Path(corpus.add("folder", "folder.jpg", "passed over")).mkdir()
    os.mkfifo(corpus.add("pipe", "pipe.jpg", "fails", says="it is no file"))
    Path(corpus.add("dangling link", "dangling.jpg", "fails", says="No such file")).symlink_to("nowhere.jpg")
    for name, other in (("loop1.jpg", "loop2.jpg"), ("loop2.jpg", "loop1.jpg")):
        Path(corpus.add("loop of links", name, "fails", says="symbolic links")).symlink_to(other)
    Path(corpus.add("device", "device.jpg", "fails", says="it is no file")).symlink_to("/dev/zero")
    Path(corpus.add("link", "link.jpg", "done")).symlink_to("with spaces.jpg")
    Path(corpus.add("link to a folder", "up.jpg", "passed over")).symlink_to(".")


def _exif(corpus: Corpus) -> None:
    photo = Image.fromarray(pixels())
    broken: dict[str, bytes] = {
        "noise": b"Exif\0\0" + np.random.default_rng(3).bytes(200),
        "cut": b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        "far": b"Exif\0\0II*\0\xff\xff\xff\x7f",
        "loop": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
        "text": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0up\0\0\0\0\0\0",
        "none": b"Exif\0\0",
    }
    for suffix in ("jpg", "png", "webp"):
        for name, exif in broken.items():
            corpus.save("broken exif", f"exif-{name}-{suffix}.{suffix}", photo, exif=exif)
