"""Checkpoints: names, shapes, and everything that must not load."""

import hashlib
import os
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from official_beit import TINY, official_shapes, official_state, write_official
from torch import Tensor

from deepct.errors import CheckpointError
from deepct.segmentation.architecture import beit_config, find_architecture
from deepct.segmentation.checkpoint import RULES, Checkpoint, load_strictly, read_checkpoint, rename

pytest.importorskip("mmseg", reason="needs deepct[masks]")

from deepct.segmentation.backend import build_network

LARGE = {"embedding": 1024, "depth": 24, "heads": 16}


def as_checkpoint(state: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(Path("weights.pth"), "", state, {})


def build(checkpoint: Checkpoint) -> Any:
    return build_network(beit_config(find_architecture(checkpoint)))


def on_meta(**sizes: int) -> Checkpoint:
    state = {name: torch.empty(shape, device="meta") for name, shape in official_shapes(**sizes).items()}
    return as_checkpoint(rename(state))


# Names and shapes


@pytest.mark.parametrize(("sizes", "entries", "parameters"), [({}, 300, 163e6), (LARGE, 504, 440.4e6)])
def test_the_published_models_have_their_names_and_shapes(
    sizes: dict[str, int], entries: int, parameters: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = on_meta(**sizes)
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # the backbone reads its values
    with torch.device("meta"):
        network = build(checkpoint)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in checkpoint.state.items()}
    assert len(shapes) == entries
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(parameters, rel=0.005)


def test_the_table_of_the_base_model() -> None:
    """The official names and shapes as they are published, a line for each kind."""
    shapes = official_shapes()
    for name, shape in {
        "backbone.patch_embed.proj.weight": (768, 3, 16, 16),
        "backbone.blocks.11.attn.relative_position_bias_table": (3972, 12),
        "backbone.blocks.11.attn.relative_position_index": (1025, 1025),
        "backbone.blocks.0.attn.qkv.weight": (2304, 768),
        "backbone.blocks.5.mlp.fc1.weight": (3072, 768),
        "backbone.fpn1.3.weight": (768, 768, 2, 2),
        "backbone.fpn1.1.num_batches_tracked": (),
        "decode_head.conv_seg.weight": (150, 768, 1, 1),
        "decode_head.psp_modules.3.1.conv.weight": (768, 768, 1, 1),
        "decode_head.bottleneck.conv.weight": (768, 3840, 3, 3),
        "decode_head.fpn_bottleneck.conv.weight": (768, 3072, 3, 3),
        "auxiliary_head.convs.0.conv.weight": (256, 768, 3, 3),
    }.items():
        assert shapes[name] == shape


def test_sizes_are_told_by_shapes() -> None:
    base, large = find_architecture(on_meta()), find_architecture(on_meta(**LARGE))
    assert base.name == "BEiT base with UPerNet, windows of 512 px"
    assert (base.heads, base.stride, base.scale, base.classes) == (12, 341, (2048, 512), 150)
    assert large.name == "BEiT large with UPerNet, windows of 512 px"
    assert beit_config(large)["backbone"]["out_indices"] == (7, 11, 15, 23)
    older = find_architecture(on_meta(window=640))
    assert (older.window, older.stride, older.scale) == (640, 426, (2560, 640))


@pytest.mark.parametrize("wrap", ["state_dict", "model", "module", None])
def test_an_official_checkpoint_loads_strictly(tmp_path: Path, wrap: str | None) -> None:
    state = official_state(**TINY)
    torch.save(state if wrap is None else {wrap: state}, tmp_path / "official.pth")
    checkpoint = read_checkpoint(tmp_path / "official.pth")
    network = build(checkpoint)
    load_strictly(network, checkpoint)
    loaded = network.state_dict()
    for ours, official in {
        "backbone.layers.2.ffn.layers.1.weight": "backbone.blocks.2.mlp.fc2.weight",
        "backbone.layers.3.ln2.bias": "backbone.blocks.3.norm2.bias",
        "neck.upsample_4x.1.running_var": "backbone.fpn1.1.running_var",
        "neck.upsample_2x.0.weight": "backbone.fpn2.0.weight",
        "decode_head.conv_seg.bias": "decode_head.conv_seg.bias",
    }.items():
        assert torch.equal(loaded[ours], state[official])


def test_names_of_mmsegmentation_are_left_alone(tmp_path: Path) -> None:
    renamed = rename(official_state(**TINY))
    assert rename(renamed).keys() == renamed.keys()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in renamed.items()}}, tmp_path / "mmseg.pth")
    checkpoint = read_checkpoint(tmp_path / "mmseg.pth")
    load_strictly(build(checkpoint), checkpoint)


@pytest.mark.parametrize("left_out", range(len(RULES)), ids=[replacement for _, replacement in RULES])
def test_every_rule_is_needed(left_out: int) -> None:
    state = official_state(**TINY)
    network = build(as_checkpoint(rename(state)))
    rules = [rule for index, rule in enumerate(RULES) if index != left_out]
    with pytest.raises(CheckpointError, match="keys are missing"):
        load_strictly(network, as_checkpoint(rename(state, rules)))


def test_the_index_of_positions_is_the_networks_own() -> None:
    """A helper of these tests: otherwise a table read in another order would go unseen."""
    network = build(as_checkpoint(rename(official_state(**TINY))))
    own = network.state_dict()["backbone.layers.0.attn.relative_position_index"]
    assert torch.equal(own, official_state(**TINY)["backbone.blocks.0.attn.relative_position_index"])


# What must fail


def test_weights_for_512_px_do_not_load_into_a_model_for_640() -> None:
    """Where MMSegmentation itself prints a warning and leaves the tables at zero."""
    small = as_checkpoint(rename(official_state(**TINY)))
    network = build(as_checkpoint(rename(official_state(**(TINY | {"window": 80})))))
    with pytest.raises(CheckpointError, match=r"8 have another shape.*windows of 64 px, the model for 80") as failure:
        load_strictly(network, small)
    assert "relative_position_bias_table (52, 2) instead of (84, 2)" in str(failure.value)
    assert "and 5 more" in str(failure.value)


def test_missing_and_unknown_keys_are_listed() -> None:
    state = rename(official_state(**TINY))
    network = build(as_checkpoint(state))
    del state["decode_head.fpn_convs.1.bn.bias"]
    state["decode_head.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as failure:
        load_strictly(network, as_checkpoint(state))
    assert "weights.pth: does not fit" in str(failure.value)
    assert "1 keys are missing: decode_head.fpn_convs.1.bn.bias" in str(failure.value)
    assert "1 keys are not the model's: decode_head.extra" in str(failure.value)


def test_a_missing_key_that_tells_a_size_is_named(tmp_path: Path) -> None:
    state = official_state(**TINY)
    del state["decode_head.conv_seg.weight"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: decode_head\.conv_seg\.weight is missing"):
        find_architecture(read_checkpoint(tmp_path / "w.pth"))


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, legacy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": official_state(**TINY), "meta": Malice()}
    torch.save(content, "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"bad\.pth: holds pickled code \(posix\.mkdir\)") as failure:
        read_checkpoint("bad.pth")
    assert "weights_only=False" in str(failure.value)
    assert not Path("harm").exists()
    Path("bare.pth").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(CheckpointError, match=r"bare\.pth"):
        read_checkpoint("bare.pth")
    assert not Path("harm").exists()


def test_the_checksum_is_checked(tmp_path: Path) -> None:
    path = write_official(tmp_path / "w.pth")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_checkpoint(path, checksum.upper()).sha256 == checksum
    with pytest.raises(CheckpointError, match=f"its SHA-256 is {checksum}, not {'0' * 64}"):
        read_checkpoint(path, "0" * 64)


def test_what_is_no_segmentation_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: cannot be read \(No such file"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("not found")
    with pytest.raises(CheckpointError, match=r"text\.pth: "):
        read_checkpoint(tmp_path / "text.pth")
    whole = write_official(tmp_path / "half.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"half\.pth: cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "half.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_checkpoint(tmp_path / "empty.pth")
    torch.save({"model": {"blocks.0.norm1.weight": torch.ones(3)}}, tmp_path / "backbone.pth")
    with pytest.raises(CheckpointError, match="a backbone alone"):
        read_checkpoint(tmp_path / "backbone.pth")
    torch.save({"decode_head.conv_seg.weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="is no BEiT; name its model with --config"):
        find_architecture(read_checkpoint(tmp_path / "other.pth"))
