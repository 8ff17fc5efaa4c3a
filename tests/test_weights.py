"""Weights alone: written small, read back to the same network, shipped in the package, refused by name."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from deepct import ColorTransfer, __version__
from deepct.cli import find_config, main
from deepct.errors import CheckpointError
from deepct.modules import Student
from deepct.networks import ColorTransferNetwork, NetworkConfig, checkpoint, load_network, save_network

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)
STATE = {"a": torch.zeros(3)}
DESCRIBED = {"network": json.dumps(TINY.as_dict())}


@pytest.fixture
def network() -> ColorTransferNetwork:
    torch.manual_seed(0)
    return ColorTransferNetwork(TINY).eval()


def photo(seed: int) -> Tensor:
    return torch.randint(0, 256, (1, 3, 40, 52), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_weights_come_back_as_the_same_network(network: ColorTransferNetwork, tmp_path: Path) -> None:
    save_network(network, tmp_path / "w.safetensors")
    again = load_network(tmp_path / "w.safetensors")
    assert not again.training
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    pictures = [net.recolor(photo(0), photo(1)).int() for net in (network, again)]
    assert (pictures[0] - pictures[1]).abs().max() <= 1


def test_weights_are_stored_in_half_precision_with_their_description(
    network: ColorTransferNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_network(network, path)
    numbers = sum(tensor.numel() for tensor in network.state_dict().values())
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode  # who installs the package can read it
    assert path.stat().st_size < 2 * numbers + 20_000
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["deepct"] == __version__
    assert json.loads(metadata["network"]) == {**TINY.as_dict(), "encoder_widths": [4, 4, 6, 6, 8], "scales": True}


def test_what_the_shape_left_open_is_described_as_it_was_built(tmp_path: Path) -> None:
    student = Student(network=TINY, lambda_multiscale=0)
    save_network(student.network, tmp_path / "w.safetensors")
    assert load_network(tmp_path / "w.safetensors").config.scales is False


def test_export_makes_weights_of_a_trainings_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = Student(network=TINY)
    ckpt, output = tmp_path / "student.ckpt", tmp_path / "student.safetensors"
    torch.save({"state_dict": student.state_dict(), "hyper_parameters": dict(student.hparams)}, ckpt)
    assert main(["export", "--ckpt_path", str(ckpt), "--output", str(output)]) == 0
    assert f"MB written to {output}" in capsys.readouterr().out
    exported = load_network(output).state_dict()
    for name, tensor in student.network.state_dict().items():
        assert torch.equal(exported[name], tensor.half().float())
    assert main(["export", "--ckpt_path", str(ckpt), "--output", str(tmp_path / "student.pt")]) == 2
    assert "student.pt: weights are written as .safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_a_weight_that_half_precision_cannot_hold_is_not_written(
    network: ColorTransferNetwork, tmp_path: Path, value: float
) -> None:
    name = next(iter(network.state_dict()))
    network.state_dict()[name].view(-1)[0] = value
    with pytest.raises(CheckpointError, match=f"{name} is not finite in half precision"):
        save_network(network, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_written_are_an_error_of_deepct(network: ColorTransferNetwork, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_network(network, tmp_path / "nowhere" / "w.safetensors")


def test_load_takes_the_weights_that_ship(
    network: ColorTransferNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path / "shipped.safetensors")
    with pytest.raises(CheckpointError, match=r"shipped\.safetensors: this copy of deepct comes without trained"):
        ColorTransfer.load()
    save_network(network, tmp_path / "shipped.safetensors")
    assert ColorTransfer.load().network.config.code_size == TINY.code_size


def test_weights_ship_in_the_package() -> None:
    import deepct

    folder = Path(deepct.__file__).parent / "weights"
    assert folder / "student.safetensors" == checkpoint.SHIPPED
    assert checkpoint.SHIPPED.stat().st_size <= 8e6
    assert list(folder.glob("*.md")), "weights come with a model card"
    recipe = yaml.safe_load(find_config("configs/student-map.yaml").read_text())
    described = load_network(checkpoint.SHIPPED).config.as_dict()
    wanted = recipe["model"]["init_args"]["network"]
    assert {name: described[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        (STATE, None, "not weights of deepct; it does not describe a network"),
        (STATE, {"network": "no JSON"}, "not weights of deepct"),
        (STATE, {"network": "[1]"}, "cannot build"),
        (STATE, {"network": json.dumps({**TINY.as_dict(), "attention": 3})}, "cannot build: .*attention"),
        (STATE, {"network": json.dumps({**TINY.as_dict(), "stride": 0})}, "cannot build: .*stride"),
        (STATE, DESCRIBED, "the tensors do not fit"),
    ],
)
def test_other_content_is_refused_by_name(
    state: dict[str, Tensor], metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    save_file(state, tmp_path / "w.safetensors", metadata)
    with pytest.raises(CheckpointError, match=rf"w\.safetensors: .*{message}"):
        load_network(tmp_path / "w.safetensors")


def test_tensors_of_another_shape_are_refused(network: ColorTransferNetwork, tmp_path: Path) -> None:
    other = json.dumps({**TINY.as_dict(), "refinement_width": 5})
    save_file(network.state_dict(), tmp_path / "w.safetensors", {"network": other})
    with pytest.raises(CheckpointError, match="the tensors do not fit"):
        load_network(tmp_path / "w.safetensors")


def test_broken_and_missing_files_are_refused_by_name(network: ColorTransferNetwork, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match=r"w\.safetensors: there is no such checkpoint"):
        load_network(path)
    save_network(network, path)
    whole = path.read_bytes()
    for broken in (b"", b"text", whole[:-1], whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"w\.safetensors: not a whole safetensors file"):
            load_network(path)
    torch.save(network.state_dict(), path)  # a pickle by that name is not unpickled
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_network(path)
