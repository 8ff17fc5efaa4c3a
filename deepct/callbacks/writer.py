"""From predictions to files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from PIL import Image

from deepct.data.folder import FolderDataModule, Job, PhotoPair, Prediction
from deepct.data.image import to_pixels
from deepct.distributed import gather
from deepct.errors import DataError
from deepct.sheet import Picture, contact_sheet, thumbnail

_SHEET_ROWS = 20
_SHEET_HEIGHT = 256


class PredictionWriter(BasePredictionWriter):
    """Write each picture as soon as it is made, as ``SOURCE__REFERENCE.png``, and remember what is to be told.

    Args:
        output: the folder to write to; made where it does not exist.
        format: ``png`` (lossless) or ``jpg``.
        quality: of JPEG, 1 to 100.
        sheet: also write contact sheets, source, reference and result side by side, 20 rows each.
    """

    def __init__(
        self, output: str = "output", format: Literal["png", "jpg"] = "png", quality: int = 95, sheet: bool = False
    ) -> None:
        super().__init__(write_interval="batch")
        self.output = Path(output)
        self.format = format
        self.quality = quality
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
            DataError: the output folder holds the photos or label maps to read, or is a file.
        """
        if stage != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, FolderDataModule)
        self._names = output_names(data.jobs)
        inputs = {path for job in data.jobs for path in job}
        folders = {folder.resolve() for path in inputs for folder in (path.parent, path.resolve().parent)}
        folders |= {Path(folder).resolve() for folder in (data.source_masks, data.reference_masks) if folder}
        if self.output.resolve() in folders:
            raise DataError(f"{self.output}: holds what is to be read; give --output another folder")
        if self.output.exists() and not self.output.is_dir():
            raise DataError(f"{self.output}: is a file; give --output a folder")
        self.output.mkdir(parents=True, exist_ok=True)

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
            self._save(picture, path)
        except OSError as error:
            self.failures.append(f"{path}: cannot be written ({error.strerror or error})")
            return
        self.written.append(path)
        if prediction.note:
            self.notes.append(prediction.note)
        if self.sheet:
            photos = (to_pixels(batch.source[0]), to_pixels(batch.reference[0]), picture)
            self._rows.append(tuple(thumbnail(photo, _SHEET_HEIGHT) for photo in photos))
            self._row_names.append(name)
            if len(self._rows) == _SHEET_ROWS:
                self._write_sheet(trainer.global_rank)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the last contact sheet, and learn what became of the other processes' photos."""
        if self._rows:
            self._write_sheet(trainer.global_rank)
        self.written, self.failures, self.notes = gather(self.written), gather(self.failures), gather(self.notes)

    def _write_sheet(self, rank: int) -> None:
        self._sheets += 1
        sheet = contact_sheet(self._rows, ("source", "reference", "result"), self._row_names)
        path = self.output / (f"sheet-{rank}-{self._sheets:03d}.png" if rank else f"sheet-{self._sheets:03d}.png")
        self._save(sheet, path)
        print(f"contact sheet: {path}")
        self._rows, self._row_names = [], []

    def _save(self, picture: Picture, path: Path) -> None:
        """Write aside and rename, so that no half-written picture is ever found."""
        aside = path.with_name(f".{path.name}.part")
        # PNG's lowest compression: a sixth larger on photos than the usual level, and five times faster.
        options = {"quality": self.quality, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
        Image.fromarray(picture).save(aside, format="JPEG" if path.suffix == ".jpg" else "PNG", **options)
        aside.replace(path)


def output_names(jobs: Sequence[Job]) -> dict[Job, str]:
    """``SOURCE__REFERENCE`` for each job, from the stems; where two would share a name, from the whole file names."""
    names = {job: f"{job.source.stem}__{job.reference.stem}" for job in jobs}
    count = Counter(names.values())
    return {
        job: name if count[name] == 1 else f"{job.source.name}__{job.reference.name}" for job, name in names.items()
    }
