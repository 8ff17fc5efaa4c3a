"""Files that people pass around, made to run code, at every door that they come in by."""

import io
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from report.training_logs import write_fit
from safetensors.torch import save_file

from deepct import ColorTransfer
from deepct.cli import main
from deepct.data.masks import read_mask
from deepct.errors import CheckpointError, ImageError
from deepct.modules import Teacher
from deepct.networks import NetworkConfig, load_network, read_checkpoint

CONF = Path(__file__).parent / "conf"
TINY = NetworkConfig(kind="map", map_width=4, histogram_width=6, code_size=2)
LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
WRITER = "deepct.modules.teacher.Teacher"


class Call:
    """What runs a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """The file that is there where an attack has run."""
    return tmp_path / "canary"


@pytest.fixture
def touch(canary: Path) -> Call:
    return Call(os.system, f"touch '{canary}'")


@pytest.fixture
def evil_module(tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be imported, and must not be."""
    name = f"evil_{tmp_path.name.strip('_').replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(f"open({str(canary)!r}, 'w')\nclass Evil: pass\ndef call(*_): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_the_attacks_would_run_elsewhere(tmp_path: Path, canary: Path, touch: Call, evil_module: str) -> None:
    for attack in (
        lambda: pickle.loads(pickle.dumps(touch)),
        lambda: __import__(evil_module),
        lambda: yaml.unsafe_load(yaml_call(canary)),
        lambda: torch.load(wrap_zip(tmp_path / "evil.ckpt", touch), weights_only=False),
    ):
        attack()
        assert canary.exists()
        canary.unlink()


def yaml_call(canary: Path) -> str:
    return f"!!python/object/apply:os.system [\"touch '{canary}'\"]"


def whole(**more: Any) -> dict[str, Any]:
    """A true checkpoint of a training, with more in it."""
    torch.manual_seed(0)
    teacher = Teacher(network=TINY)
    return {"state_dict": teacher.state_dict(), "hyper_parameters": dict(teacher.hparams), **more}


def wrap_zip(path: Path, touch: Call) -> Path:
    torch.save({"state_dict": touch}, path)
    return path


def wrap_beside(path: Path, touch: Call) -> Path:
    torch.save(whole(callbacks={"evil": [touch]}), path)
    return path


def wrap_old_format(path: Path, touch: Call) -> Path:
    torch.save(whole(callbacks=touch), path, _use_new_zipfile_serialization=False)
    return path


def wrap_bare(path: Path, touch: Call) -> Path:
    path.write_bytes(pickle.dumps(touch, protocol=0))
    return path


WRAPPINGS = [wrap_zip, wrap_beside, wrap_old_format, wrap_bare]


def lightning(command: str, *more: str | Path, conf: str = "teacher-map") -> Callable[[Path, Path], list[str]]:
    """The words of a command that take a checkpoint where they say CKPT."""

    def words(checkpoint: Path, root: Path) -> list[str]:
        configs = ["--config", str(CONF / "base.yaml"), "--config", str(CONF / f"{conf}.yaml")]
        return [
            command,
            *configs,
            "--data.root",
            str(root),
            *(str(checkpoint) if w == "CKPT" else str(w) for w in more),
        ]

    return words


def predict(flag: str) -> Callable[[Path, Path], list[str]]:
    def words(checkpoint: Path, root: Path) -> list[str]:
        photos = ["--data.source", str(root / "raw"), "--data.reference", str(root / "a"), "--output", "out"]
        return ["predict", *photos, "--trainer.accelerator", "cpu", flag, str(checkpoint)]

    return words


DOORS = {
    "fit --ckpt_path": lightning("fit", "--ckpt_path", "CKPT"),
    "fit --model.teacher": lightning("fit", "--model.teacher", "CKPT", conf="student-map"),
    "validate": lightning("validate", "--ckpt_path", "CKPT"),
    "test": lightning("test", "--ckpt_path", "CKPT"),
    "predict": predict("--ckpt_path"),
    "export": lambda checkpoint, _: ["export", "--ckpt_path", str(checkpoint), "--output", "w.safetensors"],
    "evaluate": lambda checkpoint, root: [
        *("evaluate", "--disjoint", str(root / "raw"), "--checkpoint", str(checkpoint)),
        *("--output", "results", "--methods", "identity", "--workers", "0"),
    ],
}
SEGMENTERS = {
    "masks": lambda checkpoint, root: [
        *("masks", "--input", str(root / "raw"), "--output", "labels", "--checkpoint", str(checkpoint)),
        *("--accelerator", "cpu", "--devices", "1"),
    ],
    "predict --segment": predict("--segment"),
}


@pytest.mark.parametrize("wrap", WRAPPINGS)
@pytest.mark.parametrize("door", [*DOORS, *SEGMENTERS])
def test_no_checkpoint_runs_code(
    door: str,
    wrap: Callable[[Path, Call], Path],
    touch: Call,
    canary: Path,
    fivek_root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if door in SEGMENTERS:
        pytest.importorskip("mmseg")
    evil = wrap(canary.with_name("evil.ckpt"), touch)
    assert main({**DOORS, **SEGMENTERS}[door](evil, fivek_root)) == 2
    assert str(evil) in capsys.readouterr().err
    assert not canary.exists()


@pytest.mark.parametrize("name", ["evil.ckpt", "evil.safetensors"])
@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_no_checkpoint_runs_code_from_python(
    wrap: Callable[[Path, Call], Path], name: str, touch: Call, canary: Path
) -> None:
    evil = wrap(canary.with_name(name), touch)
    for load in (ColorTransfer.load, load_network):
        with pytest.raises(CheckpointError, match="evil"):
            load(evil)
    assert not canary.exists()


@pytest.mark.parametrize("door", ["fit --ckpt_path", "validate", "test", "predict"])
@pytest.mark.parametrize("key", ["_class_path", "_instantiator", "class_path", "network"])
def test_no_checkpoint_chooses_what_is_imported(
    door: str, key: str, evil_module: str, canary: Path, fivek_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = whole()
    named = {"class_path": f"{evil_module}.Evil", "init_args": {}} if key == "network" else f"{evil_module}.Evil"
    checkpoint["hyper_parameters"][key] = named
    evil = canary.with_name("evil.ckpt")
    torch.save(checkpoint, evil)
    assert main(DOORS[door](evil, fivek_root)) == 2
    assert str(evil) in capsys.readouterr().err
    assert not canary.exists()
    assert evil_module not in sys.modules


def test_lightning_reads_nothing_but_weights_whatever_a_configuration_says(
    fivek_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    read = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **how: asked.append(how.get("weights_only")) or read(*args, **how))
    (tmp_path / "more.yaml").write_text("weights_only: false\n")
    torch.save({**whole(), "pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0}, tmp_path / "good.ckpt")
    words = DOORS["validate"](tmp_path / "good.ckpt", fivek_root)
    assert main([*words, "--config", "more.yaml"]) == 0
    assert len(asked) >= 3
    assert set(asked) == {True}


HUGE = [
    {"map_width": 10**9},
    {"code_size": 2**62},
    {"map_width": -3},
    {"map_width": "wide"},
    {"map_width": 3.5},
    {"encoder_widths": [[1] * 5] * 5},
    {"no such": 1},
]


@pytest.mark.parametrize("described", [*HUGE, "text", None, [1, 2]], ids=str)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_network_that_no_tensors_fit_is_refused_before_it_takes_memory(
    described: Any, suffix: str, tmp_path: Path
) -> None:
    network = {**TINY.as_dict(), **described} if isinstance(described, dict) else described
    path = tmp_path / f"huge{suffix}"
    checkpoint = whole()
    if suffix == ".ckpt":
        checkpoint["hyper_parameters"]["network"] = network
        torch.save(checkpoint, path)
    else:
        state = {k.removeprefix("network."): v for k, v in checkpoint["state_dict"].items()}
        save_file(state, path, {"network": json.dumps(network)})
    with pytest.raises(CheckpointError, match=f"huge{suffix}"):
        load_network(path)


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    checkpoint = whole()
    state = checkpoint["state_dict"]
    name = next(name for name in state if name.startswith("network.") and state[name].numel() > 16)
    for tensor in (torch.zeros(()).expand(state[name].shape), state[name].to_sparse(), state[name].to("meta"), "text"):
        torch.save({**checkpoint, "state_dict": {**state, name: tensor}}, tmp_path / "larger.ckpt")
        with pytest.raises(CheckpointError, match=r"larger\.ckpt: the tensors do not fit"):
            load_network(tmp_path / "larger.ckpt")


@pytest.mark.parametrize("content", [{}, {"state_dict": 1}, [], "text", 3, {"hyper_parameters": 3}], ids=str)
def test_a_checkpoint_of_something_else_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt"):
        read_checkpoint(tmp_path / "other.ckpt")
    described = {"network": TINY.as_dict(), "_class_path": WRITER}
    torch.save({"hyper_parameters": described, "state_dict": content}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt"):
        read_checkpoint(tmp_path / "other.ckpt")


DEEP = '{"a":' * 20_000 + "1" + "}" * 20_000
HEADERS = {
    "longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "longer than any number": struct.pack("<Q", 2**64 - 1) + b"{}",
    "100 MB of spaces": struct.pack("<Q", 101_000_000) + b" " * 101_000_000,
    "deep": struct.pack("<Q", len(DEEP)) + DEEP.encode(),
    "a tensor of terabytes": (lambda text: struct.pack("<Q", len(text)) + text)(
        b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    ),
    "no JSON": struct.pack("<Q", 4) + b"\xff\xfe\x00\x01",
    "nothing": b"",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_weights_cannot_take_memory(header: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.safetensors").write_bytes(HEADERS[header])
    with pytest.raises(CheckpointError, match=r"bomb\.safetensors: not a whole safetensors file"):
        load_network(tmp_path / "bomb.safetensors")


@pytest.mark.parametrize("described", [DEEP, "{", "[]", "9" * 5000, '"text"', "null"], ids=lambda text: text[:9])
def test_a_description_that_is_none_is_refused(described: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "bomb.safetensors", {"network": described})
    with pytest.raises(CheckpointError, match=r"bomb\.safetensors"):
        load_network(tmp_path / "bomb.safetensors")


def call_by(opcodes: bytes) -> Callable[[str], bytes]:
    return lambda command: opcodes.replace(b"COMMAND", command.encode())


def binary(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


PICKLES: dict[str, Callable[[str], bytes]] = {
    "reduce": lambda command: pickle.dumps(Call(os.system, command), protocol=2),
    "inst": call_by(b"(S'COMMAND'\nios\nsystem\n."),
    "obj": call_by(b"(cos\nsystem\nS'COMMAND'\no."),
    "stack global": lambda command: pickle.dumps(Call(os.system, command), protocol=4),
    "nested": lambda command: pickle.dumps([{"a": (Call(os.system, command),)}], protocol=5),
    "in a shape": lambda command: b"cnumpy\nndarray\n(cos\nsystem\n(" + binary(command.encode()) + b"tRtR.",
    "an object array": lambda command: pickle.dumps(np.array([[Call(os.system, command)]], dtype=object), protocol=2),
    "a part of NumPy": call_by(b"cnumpy.core.multiarray\nos.system\n(S'COMMAND'\ntR."),
    "numpy's loader": call_by(b"cnumpy\nload\n(S'COMMAND'\ntR."),
    "attributes": call_by(b"c_codecs\nencode\n}S'__wrapped__'\nS'COMMAND'\nsb."),
    "code of a function": call_by(b"c_codecs\nencode\n(N}S'__code__'\nS'COMMAND'\nstb."),
    "an extension": call_by(b"\x82\x01(S'COMMAND'\ntR."),
    "an address": call_by(b"S'COMMAND'\nQ."),
    "a huge memo": lambda _: b"\x80\x02Nr\xff\xff\xff\x7f.",
    "huge bytes": lambda _: b"\x80\x04\x8e" + struct.pack("<Q", 2**46) + b"abc.",
    "huge bytearray": lambda _: b"\x80\x05\x96" + struct.pack("<Q", 2**46) + b"abc.",
    "a huge frame": lambda _: b"\x80\x04\x95" + struct.pack("<Q", 2**46) + b"N.",
    "a huge number": lambda _: b"I" + b"9" * 100_000 + b"\n.",
    "a huge array": lambda _: b"cnumpy\nndarray\n(I200000\nI200000\ntS'u1'\n\x86R.",
    "a huge reconstruction": lambda _: (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I200000\nI200000\ntS'b'\ntR."
    ),
    "a huge type": lambda _: b"cnumpy\nndarray\n(I1\nI1\ntcnumpy\ndtype\n(S'V2000000000'\ntR\x86R.",
    "more elements than bytes": lambda _: pickle.dumps(np.zeros((3, 4), np.uint8), 2).replace(
        b"K\x03K\x04", b"K\xffK\xff"
    ),
    "deep": lambda _: b"(" * 100_000 + b"t" * 100_000 + b".",
    "no end": lambda _: b"\x80\x04N",
}


@pytest.mark.parametrize("attack", PICKLES)
def test_no_label_map_runs_code_or_takes_memory(attack: str, canary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    path = canary.with_name("mask.npy")
    path.write_bytes(PICKLES[attack](f"touch {canary}"))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))  # a gigabyte more
    try:
        with pytest.raises(ImageError, match=r"mask\.npy: (cannot be read as )?a label map"):
            read_mask(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert not canary.exists()


def test_numbers_that_claim_to_be_objects_stay_numbers(tmp_path: Path) -> None:
    data = pickle.dumps(LABELS.astype("<u8"), protocol=2)
    end = b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    assert end in data
    # With these flags NumPy's own type would follow the numbers as the addresses of Python's objects.
    (tmp_path / "mask.npy").write_bytes(data.replace(end, end.replace(b"\x00", b"\x3f")))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.npy"), LABELS)


def test_a_headers_shape_takes_no_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4), np.uint8))
    for shape in (b"(9, 4)", b"(-1, 4)", b"(10**9, 10**9)", b"(99999999999, 99999999999)"):
        data = buffer.getvalue().replace(b"(3, 4), }" + b" " * (len(shape) - 6), shape + b", }")
        (tmp_path / "mask.npy").write_bytes(data)
        with pytest.raises(ImageError, match=r"mask\.npy: cannot be read as a label map"):
            read_mask(tmp_path / "mask.npy")


@pytest.mark.parametrize("flag", ["--data.source_masks", "--data.reference_masks"])
def test_no_label_map_runs_code_in_a_prediction(flag: str, touch: Call, canary: Path, fivek_root: Path) -> None:
    for folder in ("source", "reference"):
        (canary.parent / folder).mkdir()
        Image.open(fivek_root / "raw" / "scene0.jpg").save(canary.parent / folder / "one.jpg")
        (canary.parent / f"{folder}_masks").mkdir()
        Image.new("L", (142, 102)).save(canary.parent / f"{folder}_masks" / "one.png")
    masks = canary.parent / f"{flag.removeprefix('--data.').removesuffix('_masks')}_masks"
    (masks / "one.png").unlink()
    (masks / "one.npy").write_bytes(pickle.dumps(touch))
    words = ["--data.source", "source", "--data.reference", "reference", "--output", "out"]
    maps = ["--data.source_masks", "source_masks", "--data.reference_masks", "reference_masks"]
    assert main(["predict", *words, *maps, "--trainer.accelerator", "cpu", "--data.num_workers", "0"]) == 1
    assert not canary.exists()


def status(words: list[str]) -> Any:
    """How a command ends, jsonargparse's own refusals included."""
    try:
        return main(words)
    except SystemExit as stop:
        return stop.code


def in_configs(evil_module: str) -> dict[str, Any]:
    """Configurations that name what is not deepct's."""
    evil = {"class_path": f"{evil_module}.Evil"}
    call = f"{evil_module}.call"
    return {
        "a callback": {"trainer": {"callbacks": [evil]}},
        "a callback by name alone": {"trainer": {"callbacks": [f"{evil_module}.Evil"]}},
        "a logger": {"trainer": {"logger": evil}},
        "a logger by name alone": {"trainer": {"logger": f"{evil_module}.Evil"}},
        "plugins": {"trainer": {"plugins": [evil]}},
        "a strategy": {"trainer": {"strategy": evil}},
        "a profiler": {"trainer": {"profiler": evil}},
        "an accelerator": {"trainer": {"accelerator": evil}},
        "a model": {"model": evil},
        "data": {"data": evil},
        "semantics": {"model": {"class_path": "deepct.modules.Teacher", "init_args": {"semantics": evil}}},
        "any function": {
            "trainer": {
                "callbacks": [
                    {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"on_fit_start": call}}
                ]
            }
        },
        "a function of a strategy": {
            "trainer": {
                "strategy": {
                    "class_path": "lightning.pytorch.strategies.DDPStrategy",
                    "init_args": {"ddp_comm_hook": call},
                }
            }
        },
        "Popen": {"model": {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "canary"]}}},
        "by another name": {"model": {"class_path": "lightning.pytorch.callbacks.model_checkpoint.os.system"}},
        "by deepct's own imports": {"model": {"class_path": "deepct.report.wandb_log.subprocess.Popen"}},
        "the command line itself": {"trainer": {"callbacks": [{"class_path": "lightning.pytorch.cli.LightningCLI"}]}},
    }


@pytest.mark.parametrize("attack", in_configs("name"))
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_no_configuration_imports_what_is_not_deepcts(
    command: str,
    attack: str,
    evil_module: str,
    canary: Path,
    fivek_root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    canary.with_name("evil.yaml").write_text(yaml.safe_dump(in_configs(evil_module)[attack]))
    own = predict("--trainer.enable_progress_bar")(Path("false"), fivek_root)
    own = (
        [command, "--config", "configs/predict.yaml", *own[1:]]
        if command == "predict"
        else lightning("fit")(canary, fivek_root)
    )
    assert status([*own, "--config", "evil.yaml"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not canary.exists()
    assert evil_module not in sys.modules


def test_a_networks_description_is_no_class(evil_module: str, fivek_root: Path, canary: Path) -> None:
    network = {"class_path": f"{evil_module}.Evil", "init_args": {}}
    words = lightning("fit", "--model.network", json.dumps(network))(canary, fivek_root)
    assert status(words) == 2
    assert not canary.exists()


def test_a_refused_class_is_named_in_one_sentence(
    evil_module: str, fivek_root: Path, canary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*lightning("fit")(canary, fivek_root), "--trainer.logger", f"{evil_module}.Evil"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"deepct: error: {evil_module}.Evil: is not imported")
    assert printed.count("\n") == 1


ALIASES = "a: &a [1, 1]\nb: &b [*a, *a]\ntrainer: {devices: [*b, *b]}\n"
COMMANDS = {
    "fit": ["fit"],
    "test": ["test"],
    "predict": ["predict", "--data.source", "a", "--data.reference", "b", "--output", "c"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("attack", ["tag", "deep", "aliases"])
def test_no_configuration_runs_code_as_it_is_read(
    command: str, attack: str, canary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"tag": f"trainer: {yaml_call(canary)}", "deep": "a: " + "[" * 20_000, "aliases": ALIASES}
    canary.with_name("evil.yaml").write_text(texts[attack])
    assert main([*COMMANDS[command], "--config", "evil.yaml"]) == 2
    assert "evil.yaml: not a configuration that can be read safely" in capsys.readouterr().err
    assert not canary.exists()


@pytest.mark.parametrize("command", ["prepare", "export", "dashboard"])
def test_no_configuration_of_the_other_commands_runs_code(command: str, canary: Path) -> None:
    canary.with_name("evil.yaml").write_text(f"root: {yaml_call(canary)}")
    with pytest.raises(SystemExit, match="2"):
        main([command, "--config", "evil.yaml"])
    assert not canary.exists()


@pytest.mark.parametrize("name", ["config.yaml", "hparams.yaml", "record.json"])
@pytest.mark.parametrize("attack", ["tag", "deep"])
def test_no_log_runs_code(
    name: str, attack: str, canary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    folder = write_fit(tmp_path / "runs" / "teacher" / "version_0")
    (folder / name).write_text({"tag": f"model: {yaml_call(canary)}", "deep": "[" * 20_000}[attack])
    assert main(["report", str(folder), "--output", "report"]) == 2
    assert name in capsys.readouterr().err
    assert not canary.exists()
