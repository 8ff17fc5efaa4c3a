"""From pairs to look-up tables."""

from pathlib import Path
from typing import Any

import lightning as L

from deepct.callbacks.writer import output_names
from deepct.data.folder import FolderDataModule, Job, PhotoPair
from deepct.distributed import gather
from deepct.errors import ConfigError, DataError
from deepct.lut import build_lut
from deepct.modules import TransferModule
from deepct.modules.base import lacks_memory

_SUFFIX = ".cube"


class LutWriter(L.Callback):
    """Write each pair's transfer as a 3-D LUT, and remember what is to be told.

    Args:
        path: a file ``.cube``, for one pair; else a folder, for ``SOURCE__REFERENCE.cube`` of each.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.written: list[Path] = []
        self.failures: list[str] = []
        self._files: dict[Job, Path] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Choose the files.

        Raises:
            ConfigError: the transfers are semantic.
            DataError: there are more pairs than files, or the folder is a file.
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, FolderDataModule)
        if data.source_masks or data.reference_masks or data.segment:
            raise ConfigError(
                "with label maps a colour becomes another one in another region, which no LUT can say; leave out "
                "either --lut or the label maps"
            )
        is_file = self.path.suffix.lower() == _SUFFIX
        if is_file and len(data.jobs) > 1:
            raise DataError(
                f"{self.path}: holds the transfer of one pair, but there are {len(data.jobs)}; give --lut a folder"
            )
        folder = self.path.parent if is_file else self.path
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: is a file, and neither a folder nor a {_SUFFIX}; give --lut one of these")
        folder.mkdir(parents=True, exist_ok=True)
        names = output_names(data.jobs)
        self._files = {job: self.path if is_file else folder / f"{name}{_SUFFIX}" for job, name in names.items()}

    def on_predict_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: PhotoPair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one LUT, before its photo is recoloured; one that cannot be written costs no other.

        Raises:
            ConfigError: the network draws each pixel by its surroundings.
        """
        if batch.error:
            return
        assert isinstance(pl_module, TransferModule)
        size, strength = pl_module.execution.working_size, pl_module.execution.strength
        path = self._files[batch.job]
        try:
            seen = batch.source if batch.shown is None else batch.shown
            build_lut(pl_module.network, seen, batch.reference, size, strength=strength).save(path)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            self.failures.append(f"{path}: cannot be made here ({str(error).splitlines()[0]})")
        except OSError as error:
            self.failures.append(f"{path}: cannot be written ({error.strerror or error})")
        else:
            self.written.append(path)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Learn what became of the other processes' pairs."""
        self.written, self.failures = gather(self.written), gather(self.failures)
