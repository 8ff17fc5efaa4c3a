"""LightningCLI as deepct drives it."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
from jsonargparse import set_parsing_settings
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from deepct import slurm
from deepct.callbacks import Guard, LutWriter, Pace, PredictionWriter, Resume, RunRecord, TestResults
from deepct.callbacks.folder import run_folder
from deepct.errors import CheckpointError, DeepctError
from deepct.modules import Student, TransferModule
from deepct.networks import WEIGHTS_SUFFIX, TransferNetwork, load_network, read_checkpoint, shipped_weights
from deepct.saving import WholeFiles, WholeTrainer
from deepct.telling import one_line, print_failures
from deepct.writing import remove_leftovers

STOPPED = 143
"""The exit status of a training that was told to stop, as of any process that SIGTERM ends."""

# What a configuration may name, to be imported and called: nothing else that Python has.
set_parsing_settings(
    import_path_denylist=["*", "lightning.pytorch.callbacks.lambda_function"],  # a callback that is any function
    import_path_allowlist=[
        "deepct",
        *(
            f"lightning.pytorch.{kind}"
            for kind in ("accelerators", "callbacks", "loggers", "plugins", "profilers", "strategies")
        ),
        "lightning.fabric.plugins",
        "torch.distributed.algorithms",
        "torch.profiler",
    ],
)


class _Parser(LightningArgumentParser):
    """Says in one sentence which name is refused, where jsonargparse tells all that it might have been."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with what is wrong."""
        denied = re.search(r"Importing '([\w.]+)' is not allowed", message)
        if denied:
            raise DeepctError(
                f"{denied[1]}: is not imported, for a configuration may come from anyone; in configurations and flags "
                "there are the classes of deepct and the parts of Lightning's trainer (README, Trust)"
            ) from ex
        super().error(message, ex)


class RunConfig(SaveConfigCallback):
    """Keep a training's whole configuration, in its folder and on its dashboard."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save once, and for trainings only."""
        if stage == "fit" and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._folder = run_folder(trainer)
            if trainer.is_global_zero:
                self._folder.mkdir(parents=True, exist_ok=True)
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Beside the checkpoints; and offline runs of W&B know only what they are told."""
        self.parser.save(
            self.config, self._folder / self.config_filename, skip_none=False, overwrite=True, multifile=self.multifile
        )
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(self.config.as_dict())


class DeepctCLI(LightningCLI):
    """One command: parsed, checked and run.

    Args:
        args: the words after ``deepct``.

    Raises:
        DeepctError: anything that the user can mend.
    """

    def __init__(self, args: ArgsType) -> None:
        self.status = 0
        self._weights: TransferNetwork | None = None
        self._luts: LutWriter | None = None
        self._record = RunRecord()
        self._guard = Guard()
        self._guard.training = slurm.name_training(args if isinstance(args, list) else [])
        super().__init__(
            TransferModule,
            L.LightningDataModule,
            save_config_callback=RunConfig,
            parser_class=_Parser,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_class=WholeTrainer,
            trainer_defaults={"callbacks": [TestResults(), Pace(), self._record, Resume(), self._guard]},
            seed_everything_default=0,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # deepct's checkpoints say themselves what they are
            args=args,
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.add_argument("--output", type=str, required=True, help="Folder for the recoloured photos.")
            parser.add_lightning_class_args(PredictionWriter, "writer")
            parser.link_arguments("output", "writer.output")
            parser.link_arguments("writer.depth", "data.init_args.depth")
            parser.add_argument(
                "--lut",
                type=str | None,
                default=None,
                help="Write the transfer as a 3-D LUT too: FILE.cube for one pair, or a folder for one of each.",
            )
            parser.add_argument(
                "--segment", type=str | None, default=None, help="Checkpoint of a segmentation model, to label photos."
            )
            parser.link_arguments("segment", "data.init_args.segment")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and check the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        command = self.config.subcommand
        self.config[command].weights_only = True  # Lightning's own reading, whatever a configuration says
        path = self.config[command].get("ckpt_path")
        if path is None and command == "predict":
            path = shipped_weights()
        if path is None and command == "fit":
            path = self._go_on()
        self._record.checkpoint = None if path is None else str(Path(path).resolve())
        if path is not None and Path(path).suffix == WEIGHTS_SUFFIX:
            self._take_weights(path)
        elif path is not None:
            checkpoint = read_checkpoint(path)
            kind = checkpoint["hyper_parameters"]["_class_path"].rpartition(".")[2]
            wanted = self.config[command].model.class_path.rpartition(".")[2]
            if command == "fit" and kind != wanted:
                raise CheckpointError(
                    f"{path}: the checkpoint of a {kind} cannot resume a {wanted}; a student takes its teacher as "
                    "--model.teacher"
                )
            if command == "fit":
                remove_leftovers(Path(path).parent, below=False)
                self._resume_dashboard(checkpoint)
        elif command != "fit":
            raise CheckpointError(f"deepct {command} needs the checkpoint of a training: --ckpt_path CKPT")

    def _go_on(self) -> str | None:
        """The checkpoint that a job of SLURM goes on from, where it is started again."""
        path = slurm.last_checkpoint(self._guard.training)
        self.config.fit.ckpt_path = path and str(path)
        return self.config.fit.ckpt_path

    def _resume_dashboard(self, checkpoint: dict[str, Any]) -> None:
        """Go on under the id that the training has on W&B, unless another is asked for."""
        wandb_id = checkpoint.get("callbacks", {}).get(RunRecord.__name__, {}).get("wandb_id")
        for logger in _loggers(self.config.fit.trainer.logger):
            if logger.class_path.endswith("WandbLogger") and not logger.init_args.get("id"):
                logger.init_args.id = wandb_id

    def _take_weights(self, path: str | Path) -> None:
        """Let the file say what the network is, and keep it from Lightning, which knows whole checkpoints alone."""
        command = self.config.subcommand
        if command == "fit":
            raise CheckpointError(f"{path}: holds weights alone; a training is resumed from one of its own checkpoints")
        self._weights = load_network(path)
        kind, network = self.config[command].model.class_path, self._weights.config.as_dict()
        model = {"class_path": kind, "init_args": {"network": network}}
        self.config = self.parser.parse_object({command: {"model": model}}, self.config)
        self.config[command].ckpt_path = None

    def instantiate_trainer(self, **settings: Any) -> L.Trainer:
        """A trainer whose checkpoints are whole, unless it was given a way of its own to write them."""
        trainer = super().instantiate_trainer(**settings)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run, and where the command was told to stop say how to go on."""
        try:
            super()._run_subcommand(subcommand)
        except SIGTERMException:
            self.status = STOPPED
            saved = self._guard.saved
            if saved is not None and self.trainer.is_global_zero:
                steps = self.trainer.global_step
                print(f"stopped after {steps} steps; to go on, give the same command and --ckpt_path {saved}")

    def after_instantiate_classes(self) -> None:
        """Load weights alone; a whole checkpoint is loaded by Lightning."""
        if self._weights is not None:
            self.model.network.load_state_dict(self._weights.state_dict())

    def before_instantiate_classes(self) -> None:
        """Say what is not installed, which jsonargparse would bury, and call a run on W&B what its folder is called."""
        loggers = _loggers(self.config[self.config.subcommand].trainer.logger)
        dashboards = [logger for logger in loggers if logger.class_path.endswith("WandbLogger")]
        if dashboards and find_spec("wandb") is None:
            raise DeepctError("logging to Weights & Biases needs wandb: pip install 'deepct[wandb]'")
        names = (logger.init_args.get("name") for logger in loggers if logger not in dashboards)
        for logger in dashboards:
            logger.init_args.name = logger.init_args.get("name") or next(names, None)

    def after_fit(self) -> None:
        """Say where the best checkpoint is and what to do with it."""
        checkpoint = self.trainer.checkpoint_callback
        paths = (getattr(checkpoint, name, "") for name in ("best_model_path", "last_model_path"))
        path = next((path for path in paths if Path(path).is_file()), None)
        if path is None or self.trainer.fast_dev_run or not self.trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        print(f"best checkpoint: {path}")
        if isinstance(self.model, Student):
            print(
                "recolour photos with it: deepct predict --data.source DIR --data.reference FILE --output DIR "
                f"--ckpt_path {shlex.quote(path)}"
            )
        else:
            print(f"distil a student from it: {' '.join(self._distil(path))}")

    def _distil(self, teacher: str) -> list[str]:
        """The command that distils a student as this teacher was trained: by the configuration of like name."""
        used = next((Path(str(path)) for path in self.config_init.fit.config or ()), Path())
        folder = "configs/demo" if used.parent.name == "demo" else "configs"
        kind = "student-map" if self.model.network.config.kind == "map" else "student"
        words = ["deepct", "fit", "--config", f"{folder}/{kind}.yaml"]
        root = self.config.fit.data.init_args.get("root")
        words += ["--data.root", str(root)] if root else []
        return [shlex.quote(word) for word in [*words, "--model.teacher", teacher]]

    def close(self) -> None:
        """End what the command logged to W&B: another one of this process is another run."""
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()

    def before_predict(self) -> None:
        """Write LUTs too, where they are asked for."""
        if self.config_init.predict.lut is not None:
            self._luts = LutWriter(self.config_init.predict.lut)
            self.trainer.callbacks.append(self._luts)  # type: ignore[attr-defined]

    def after_predict(self) -> None:
        """List what failed."""
        writer = next(callback for callback in self.trainer.callbacks if isinstance(callback, PredictionWriter))  # type: ignore[attr-defined]
        failures = writer.failures + (self._luts.failures if self._luts else [])
        self.status = int(bool(failures))
        if not self.trainer.is_global_zero:
            return
        print(f"{len(writer.written)} photos written to {writer.output}")
        if self._luts:
            print(f"{len(self._luts.written)} LUTs written to {self._luts.path}")
        if writer.notes:
            print(f"{len(writer.notes)} without labels:", *map(one_line, writer.notes), sep="\n  ")
        print_failures(failures)


def _loggers(configured: Any) -> list[Any]:
    """The loggers of a configuration: one, several, or none that is described."""
    return [
        logger
        for logger in (configured if isinstance(configured, list) else [configured])
        if hasattr(logger, "class_path")
    ]
