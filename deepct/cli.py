"""The command line: Lightning's ``fit | validate | test | predict``, and the commands beside them."""

import gc
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from deepct import __version__
from deepct.errors import DeepctError
from deepct.telling import accept_any_name

COMMANDS = {
    "fit": "train a teacher, or distil a student from one",
    "validate": "measure the losses on the validation photos",
    "test": "measure losses, PSNR, SSIM and delta E on the test photos",
    "predict": "recolour a folder of photos",
    "export": "write a checkpoint's weights alone, small, to ship or to share",
    "prepare": "make a compact copy of a photo collection, to train on",
    "masks": "make label maps of a folder of photos, by BEiT v2",
    "dashboard": "lay out the plots of a project on Weights & Biases",
    "evaluate": "judge networks and classical transfers on folders of photos",
    "report": "tell what trainings did, from their logs, as one page of figures",
}

_HELP = """usage: deepct COMMAND [--config FILE ...] [--KEY VALUE ...]

Deep colour transfer between photos.

commands:
{commands}

examples:
  deepct fit --config configs/teacher.yaml --data.root DIR
  deepct fit --config configs/student.yaml --data.root DIR --model.teacher CKPT
  deepct test --config configs/student.yaml --data.root DIR --ckpt_path CKPT
  deepct predict --data.source DIR --data.reference FILE --output DIR
  deepct predict --data.source FILE --data.reference FILE --output DIR --model.strength 0.7 --lut FILE.cube
  deepct predict --data.source DIR --data.reference DIR_OR_FILE --output DIR --ckpt_path CKPT
  deepct export --ckpt_path CKPT --output FILE.safetensors
  deepct prepare --root DIR --output DIR
  deepct masks --input DIR --output DIR --checkpoint FILE
  deepct dashboard --project NAME
  deepct evaluate --disjoint DIR --aligned DIR --wild DIR --checkpoint CKPT --output DIR
  deepct report runs/teacher runs/student --output DIR

`deepct COMMAND --help` lists a command's settings. Configurations that are not found as files are taken from those
that come with deepct. Without a checkpoint, `deepct predict` takes the weights that come with deepct."""


# Warnings of Lightning and torch about themselves, with nothing in them for a user to do.
_NOISE = (
    "LightningCLI's args parameter",
    ".*isinstance\\(treespec, LeafSpec\\)",
    "Couldn't infer the batch indices",
    ".*does not have many workers",
    ".*could be decompression bomb",  # which is told of by its name
)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: the words after ``deepct``; those of the process by default.

    Returns:
        The exit status: 0, or 1 where some photos failed, or 2 where the command could not run.
    """
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in ("-h", "--help"):
        print(_HELP.format(commands="\n".join(f"  {name:10}{what}" for name, what in COMMANDS.items())))
        return 0
    if words[0] == "--version":
        print(f"deepct {__version__}")
        return 0
    try:
        if words[0] not in COMMANDS:
            raise DeepctError(f"there is no command {words[0]!r}; there are {', '.join(COMMANDS)}")
        if words[0] == "prepare":
            from deepct.data.prepare import prepare

            return _run_function(prepare, words)
        if words[0] == "export":
            from deepct.networks.checkpoint import export

            return _run_function(export, words)
        if words[0] == "dashboard":
            from deepct.dashboard import dashboard

            return _run_function(dashboard, words)
        if words[0] == "masks":
            return _run_masks(words[1:])
        if words[0] == "evaluate":
            return _run_evaluate(words[1:])
        if words[0] == "report":
            return _run_report(words[1:])
        return _run_lightning(resolve_configs(words))
    except Exception as error:
        cause = _find_cause(error)
        if cause is None:
            raise
        print(f"deepct: error: {cause}", file=sys.stderr)
        return 2


def _find_cause(error: BaseException | None) -> DeepctError | None:
    """The error that a user can act on, though jsonargparse may have wrapped it."""
    while error is not None and not isinstance(error, DeepctError):
        error = error.__cause__ or error.__context__
    return error


def _run_function(command: Callable[..., int], words: list[str]) -> int:
    from jsonargparse import auto_cli

    return auto_cli(command, args=words[1:], as_positional=False, prog=f"deepct {words[0]}")


def _silence() -> None:
    for noise in _NOISE:
        warnings.filterwarnings("ignore", message=noise)


def _run_masks(words: list[str]) -> int:
    _silence()
    # On a CPU, photos are read and written on the cores that compute: threads that spin while they wait would hold
    # those up, and so themselves. Where torch is not imported yet, it heeds this.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from jsonargparse import ArgumentParser
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from deepct.segmentation.precompute import masks

    words = [re.sub("^--[a-z-]+", lambda flag: f"--{flag[0][2:].replace('-', '_')}", word) for word in words]
    parser = ArgumentParser(prog="deepct masks")  # auto_cli has a --config of its own
    parser.add_function_arguments(masks)
    try:
        return masks(**parser.instantiate(parser.parse_args(words)))
    except MisconfigurationException as error:
        hint = "to run on what is here: --accelerator auto --devices 1"
        raise DeepctError(f"{str(error).rstrip('.!')}; {hint}") from error


def _run_evaluate(words: list[str]) -> int:
    _silence()
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="deepct evaluate", description="Measure transfers on folders of photos, track by track."
    )
    for flag, metavar, what in (
        ("disjoint", "DIR", "folders of any photos; a half of each takes the colours of its other half, graded"),
        ("aligned", "DIR", "folders of photos and retouched versions: raw and a to e, or ID__input and ID__expert_X"),
        ("wild", "DIR", "folders of photos, which take each other's colours, or with folders in, ref, in_seg, ref_seg"),
        ("methods", "NAME", "identity, reinhard, hm, mkl, idt, hm-mkl-hm, hm-mvgd-hm, deepct; all by default"),
        ("checkpoint", "CKPT", "networks, CKPT or NAME=CKPT, in the place of the one that comes with deepct"),
    ):
        parser.add_argument(f"--{flag}", nargs="+", action="extend", default=[], metavar=metavar, help=what)
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder for tables, pairs.csv and contact sheets"
    )
    parser.add_argument("--size", type=int, default=768, help="longest side to which photos are shrunk, px")
    parser.add_argument(
        "--workers", type=int, help="processes at once, by default one for each core; 0: this one alone"
    )
    settings = parser.parse_args(words).as_dict()
    from deepct.evaluation.evaluate import evaluate

    return evaluate(**settings)


def _run_report(words: list[str]) -> int:
    _silence()
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="deepct report", description="Tell what trainings did, from their logs: a page and its figures."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="logs of trainings and of tests of them: runs/NAME, runs/NAME/version_N, runs/wandb/offline-run-DATE-ID",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for report.html and its figures")
    parser.add_argument("--photos", metavar="DIR", help="folder of photos to show the networks on")
    parser.add_argument("--memory", type=float, metavar="GIB", help="of the device that training is to fit, GiB")
    settings = parser.parse_args(words).as_dict()
    from deepct.report.report import report

    return report(**settings)


def _run_lightning(words: list[str]) -> int:
    _silence()
    # Imported here: --help need not wait for torch. Nothing of it is garbage, and collecting takes a second.
    gc.disable()
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from deepct.data.loader import explain_lost_worker
    from deepct.runner import DeepctCLI
    from deepct.saving import explain_full_disk

    gc.enable()
    try:
        cli = DeepctCLI(words)
    except MisconfigurationException as error:
        hint = "; to run on what is here: --trainer.accelerator auto --trainer.devices 1 --trainer.precision 32-true"
        raise DeepctError(f"{str(error).rstrip('.!')}{hint if 'gpu' in str(error).lower() else ''}") from error
    except OSError as error:
        explained = explain_full_disk(error)
        if explained is None:
            raise
        raise explained from error
    except RuntimeError as error:
        lost = explain_lost_worker(error)
        if lost is None:
            raise
        raise lost from error
    cli.close()
    return cli.status


def resolve_configs(words: Sequence[str]) -> list[str]:
    """Replace each ``--config FILE`` that is not there by deepct's own file of that name.

    Where ``predict`` has none, it takes deepct's own.

    Raises:
        DeepctError: neither is there.
    """
    if words[0] == "predict" and not any(re.match("(--config|-c)(=|$)", word) for word in words):
        return ["predict", "--config", str(_own_configs() / "predict.yaml"), *words[1:]]
    resolved: list[str] = []
    for word in words:
        before, equals, path = word.rpartition("=") if word.startswith(("--config=", "-c=")) else ("", "", word)
        is_config = bool(equals) or (bool(resolved) and resolved[-1] in ("--config", "-c"))
        resolved.append(f"{before}{equals}{find_config(path)}" if is_config else word)
    return resolved


def find_config(name: str) -> Path:
    """A configuration file: as named, or deepct's own, with or without ``configs/`` before it.

    Raises:
        DeepctError: there is no such file, or it is not plain YAML.
    """
    folder = _own_configs()
    for path in (Path(name), folder / name.removeprefix("configs/")):
        if path.is_file():
            _check_yaml(path)
            return path
    own = ", ".join(sorted(f"configs/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.yaml")))
    raise DeepctError(f"{name}: there is no such configuration; deepct has {own}")


def _check_yaml(path: Path) -> None:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        yaml.safe_load(text)
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise yaml.YAMLError("it has aliases, of which few can stand for any number of values")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DeepctError(
            f"{path}: not a configuration that can be read safely ({reason}); a configuration is YAML, of plain values"
        ) from error


def _own_configs() -> Path:
    """Where they lie: in the package, or beside it in a checkout."""
    package = Path(__file__).parent
    return next((f for f in (package / "configs", package.parent / "configs") if f.is_dir()), package)


def console() -> None:
    """Run the process's own words and exit with their status."""
    accept_any_name()
    sys.exit(main())


if __name__ == "__main__":
    console()
