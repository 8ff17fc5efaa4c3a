from pathlib import Path

import pytest
import torch

from deepct.modules import Student
from deepct.networks import NetworkConfig

TINY = NetworkConfig(
    encoder_widths=(4, 4, 6, 6, 8), decoder_widths=(8, 6, 6, 4, 4), refinement_width=4, histogram_width=8, code_size=6
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of random weights, under a name like Lightning's."""
    torch.manual_seed(0)
    student = Student(network=TINY)
    path = tmp_path_factory.mktemp("network") / "tiny-step=3.ckpt"
    torch.save({"state_dict": student.state_dict(), "hyper_parameters": dict(student.hparams)}, path)
    return path
