"""The four demo pairs, shown as pictures after each validation."""

import lightning as L

from deepct.callbacks.folder import run_folder
from deepct.callbacks.histograms import draw_histograms
from deepct.callbacks.show import show_pictures
from deepct.data.image import to_pixels, to_planes
from deepct.data.samples import DemoPair, demo_pairs
from deepct.modules import TransferModule
from deepct.sheet import Picture, contact_sheet, thumbnail


class DemoPanels(L.Callback):
    """Recolour the four demo pairs after each validation, and show them to every logger.

    Each picture has source, reference and result, and below them their histograms as HEN sees them.

    Args:
        size: height of the photos, px.
    """

    def __init__(self, size: int = 192) -> None:
        self.size = size
        self._pairs: list[DemoPair] = []

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make the pictures and show them; the sanity check shows nothing."""
        assert isinstance(pl_module, TransferModule)
        folder = run_folder(trainer)
        if trainer.sanity_checking or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        if not self._pairs:
            self._pairs = [
                DemoPair(pair.name, *(thumbnail(photo, self.size) for photo in pair[1:])) for pair in demo_pairs()
            ]
        pictures = {pair.name: self._draw(pl_module, pair) for pair in self._pairs}
        show_pictures(trainer, "demo_pairs", pictures, folder)

    def _draw(self, module: TransferModule, pair: DemoPair) -> Picture:
        source, reference = (to_planes(photo).unsqueeze(0).to(module.device) for photo in pair[1:])
        result = to_pixels(module.network.recolor(source, reference)[0])
        photos = (pair.source, pair.reference, result)
        histograms = [draw_histograms(photo, self.size, self.size * 2 // 3) for photo in photos]
        return contact_sheet([photos, histograms], ("source", "reference", "result"), (pair.name, "ab and L"))
