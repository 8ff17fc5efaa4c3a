"""From predictions to files."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import BasePredictionWriter
from numpy.typing import NDArray
from PIL import Image

from deepct.data.deep_png import write_deep_png
from deepct.data.folder import FolderDataModule, Job, PhotoPair, Prediction
from deepct.data.image import to_pixels
from deepct.data.metadata import Metadata
from deepct.data.profiles import Depth, to_8_bits
from deepct.distributed import end_at_sigterm, gather
from deepct.errors import ConfigError, DataError
from deepct.sheet import Picture, contact_sheet, thumbnail
from deepct.writing import remove_leftovers, written_aside

_SHEET_ROWS = 20
_SHEET_HEIGHT = 256
_SUBSAMPLING = {444: 0, 422: 1, 420: 2}  # as Pillow numbers them


class PredictionWriter(BasePredictionWriter):
    """Write each picture as soon as it is made, as ``SOURCE__REFERENCE.png``, and remember what is to be told.

    The source's EXIF, resolution and transparency go with it, and a profile of sRGB where the source had a profile.

    Args:
        output: the folder to write to; made where it does not exist.
        format: ``png`` (lossless) or ``jpg``, in which transparency becomes white.
        quality: of JPEG, 1 to 100.
        subsampling: of JPEG's colours: 444 keeps them all, 422 half of them, 420 a quarter.
        depth: bits a channel, 8 or 16; of 16 are PNGs alone.
        sheet: also write contact sheets, source, reference and result side by side, 20 rows each.

    Raises:
        ConfigError: the quality is out of range, or a JPEG is to have 16 bits.
    """

    def __init__(
        self,
        output: str = "output",
        format: Literal["png", "jpg"] = "png",
        quality: int = 95,
        subsampling: Literal[444, 422, 420] = 444,
        depth: Depth = 8,
        sheet: bool = False,
    ) -> None:
        super().__init__(write_interval="batch")
        if not 1 <= quality <= 100:
            raise ConfigError(f"writer.quality is from 1 to 100, got {quality}")
        if depth == 16 and format == "jpg":
            raise ConfigError("JPEG has 8 bits a channel; give --writer.format png, or --writer.depth 8")
        self.output = Path(output)
        self.format = format
        self.quality = quality
        self.subsampling = subsampling
        self.depth = depth
        self.sheet = sheet
        self.written: list[Path] = []
        self.failures: list[str] = []
        self.notes: list[str] = []
        self._names: dict[Job, str] = {}
        self._rows: list[tuple[Picture, ...]] = []
        self._row_names: list[str] = []
        self._sheets = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Choose the files' names, and see that none is an input.

        Raises:
            DataError: the output folder holds the photos or label maps to read, is a file, or cannot be made.
        """
        if stage != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, FolderDataModule)
        self._names = output_names(data.jobs)
        inputs = {path for job in data.jobs for path in job}
        folders = {folder for path in inputs for folder in (_real(path.parent), _real(path).parent)}
        folders |= {_real(Path(folder)) for folder in (data.source_masks, data.reference_masks) if folder}
        if _real(self.output) in folders:
            raise DataError(f"{self.output}: holds what is to be read; give --output another folder")
        if self.output.exists() and not self.output.is_dir():
            raise DataError(f"{self.output}: is a file; give --output a folder")
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.output}: cannot be made ({error.strerror}); give another --output") from error
        if trainer.is_global_zero:
            remove_leftovers(self.output, below=False)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From now on SIGTERM ends the run."""
        end_at_sigterm(trainer)

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Prediction,
        batch_indices: Sequence[int] | None,
        batch: PhotoPair,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one picture; one that cannot be written costs no other."""
        if prediction.image is None:
            self.failures.append(prediction.error)
            return
        name = self._names[prediction.job]
        picture = to_pixels(prediction.image)
        path = self.output / f"{name}.{self.format}"
        try:
            self._save(picture, path, None if batch.alpha is None else to_pixels(batch.alpha[0]), batch.metadata)
        except OSError as error:
            self.failures.append(f"{path}: cannot be written ({error.strerror or error})")
            return
        self.written.append(path)
        if prediction.note:
            self.notes.append(prediction.note)
        if self.sheet:
            photos = (to_pixels(batch.source[0]), to_pixels(batch.reference[0]), picture)
            self._rows.append(tuple(thumbnail(to_8_bits(photo), _SHEET_HEIGHT) for photo in photos))
            self._row_names.append(name)
            if len(self._rows) == _SHEET_ROWS:
                self._write_sheet(trainer.global_rank)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the last contact sheet, and learn what became of the other processes' photos.

        Not ``on_predict_end``, which a process that has no photo never sees.
        """
        if self._rows:
            self._write_sheet(trainer.global_rank)
        self.written, self.failures, self.notes = gather(self.written), gather(self.failures), gather(self.notes)

    def _write_sheet(self, rank: int) -> None:
        self._sheets += 1
        sheet = contact_sheet(self._rows, ("source", "reference", "result"), self._row_names)
        path = self.output / (f"sheet-{rank}-{self._sheets:03d}.png" if rank else f"sheet-{self._sheets:03d}.png")
        try:
            self._save(sheet, path)
        except OSError as error:
            self.failures.append(f"{path}: cannot be written ({error.strerror or error})")
            return
        finally:
            self._rows, self._row_names = [], []
        print(f"contact sheet: {path}")

    def _save(
        self,
        picture: NDArray[Any],
        path: Path,
        alpha: NDArray[Any] | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        options = metadata.options if metadata else {}
        with written_aside(path) as aside:
            if picture.dtype == np.uint16:
                write_deep_png(aside, picture, None if alpha is None else alpha[..., 0], **options)
            elif path.suffix == ".jpg":
                image = Image.fromarray(picture)
                if alpha is not None:
                    image = Image.composite(
                        image, Image.new("RGB", image.size, "white"), Image.fromarray(alpha[..., 0])
                    )
                options |= {"quality": self.quality, "subsampling": _SUBSAMPLING[self.subsampling]}
                image.save(aside, format="JPEG", **options)
            else:
                image = Image.fromarray(picture if alpha is None else np.dstack((picture, alpha)))
                # The lowest compression: a sixth larger on photos than the usual level, and five times faster.
                image.save(aside, format="PNG", compress_level=1, **options)


def output_names(jobs: Sequence[Job]) -> dict[Job, str]:
    """``SOURCE__REFERENCE`` for each job, from the stems; where two would share a name, from the whole file names.

    Names that differ in nothing but upper and lower case are one, as they are on many disks.
    """
    names = {job: f"{job.source.stem}__{job.reference.stem}" for job in jobs}
    count = Counter(map(_folded, names.values()))
    taken: set[str] = set()
    for job, name in names.items():
        if count[_folded(name)] > 1:
            name = f"{job.source.name}__{job.reference.name}"
        while _folded(name) in taken:
            name += "_"
        taken.add(_folded(name))
        names[job] = name
    return names


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # a loop of links stops Path.resolve()


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()
