"""The Weights & Biases logger, for people with an account and without."""

import logging
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger

_log = logging.getLogger(__name__)


class WandbLogger(LightningWandbLogger):
    """Lightning's logger, which keeps the run offline where nobody is logged in rather than stopping it.

    Online, the best checkpoint becomes an artifact at the end.

    Args:
        project: the dashboard's project.
        name: the run's name; W&B invents one where none is given.
        save_dir: where runs are kept, offline ones for good.
        offline: keep the run on disk; ``wandb sync`` uploads it later.
        id: the run's own, under which it is resumed; a resumed training finds it in its checkpoint.
        **kwargs: further arguments of ``wandb.init``.
    """

    def __init__(
        self,
        project: str = "deepct",
        name: str | None = None,
        save_dir: str = "runs",
        offline: bool = False,
        id: str | None = None,
        **kwargs: Any,
    ) -> None:
        import wandb  # imported here: only who asks for it needs it

        if not offline and os.environ.get("WANDB_MODE", "online") == "online" and not wandb.login(prompt=False):
            _log.warning("not logged in to W&B: this run stays offline; `wandb login`, then `wandb sync` uploads it")
            offline = True
        offline = offline or os.environ.get("WANDB_MODE", "online") in ("offline", "dryrun")
        folder = Path(save_dir).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        # Pictures of tables wait here for their upload; W&B's own place would be lost with the user's cache.
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))
        kwargs.setdefault("log_model", not offline)
        kwargs |= {"mode": "offline"} if offline else {}  # a process that has used W&B asks the environment no more
        # The whole path: what writes is a process of W&B's own, which may have been started in another folder.
        super().__init__(project=project, name=name, save_dir=str(folder), offline=offline, id=id, **kwargs)
