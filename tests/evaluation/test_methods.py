import sys
from pathlib import Path

import numpy as np
import pytest

from deepct import ColorTransfer
from deepct.errors import CheckpointError, ConfigError
from deepct.evaluation.methods import CLASSICAL, ORACLE, Method, choose_methods, load
from deepct.evaluation.tracks import AlignedCase, Photos, ProtocolCase, WildCase

HERE = Path()


def photo(height: int = 40, width: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_all_classical_methods_and_the_given_networks_run_by_default(checkpoint: Path) -> None:
    pytest.importorskip("color_matcher")
    methods = choose_methods([], [str(checkpoint), f"mine={checkpoint}"])
    networks = ["tiny-step=3", "tiny-step=3 + labels", "mine", "mine + labels"]
    assert [method.name for method in methods] == [*CLASSICAL, *networks]
    assert [method.labels for method in methods[-2:]] == [False, True]


def test_named_methods_run_alone_and_networks_beside_them(checkpoint: Path) -> None:
    assert choose_methods(["mkl"], []) == [Method("mkl")]
    assert [m.name for m in choose_methods(["mkl"], [f"n={checkpoint}"])] == ["mkl", "n", "n + labels"]


def test_without_a_checkpoint_the_shipped_network_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(ColorTransfer, "load", lambda path=None: asked.append(path))
    load.cache_clear()
    assert [m.name for m in choose_methods(["deepct"], [])] == ["deepct", "deepct + labels"]
    assert asked == [None]
    load.cache_clear()


def test_wrong_names_and_networks_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no method 'mlk'; there are identity"):
        choose_methods(["mlk"], [])
    with pytest.raises(ConfigError, match="two methods are called 'n'"):
        choose_methods(["mkl"], [f"n={checkpoint}", f"n={checkpoint}"])
    with pytest.raises(ConfigError, match="two methods are called 'mkl'"):
        choose_methods(["hm"], [f"mkl={checkpoint}"])
    with pytest.raises(CheckpointError, match="no such"):
        choose_methods(["mkl"], [str(tmp_path / "none.ckpt")])


def test_without_color_matcher_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "color_matcher", None)
    with pytest.raises(ConfigError, match=r"pip install 'deepct\[evaluate\]'"):
        choose_methods(["hm-mkl-hm"], [])
    assert choose_methods(["hm"], [])


def test_color_matcher_runs_the_solver_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = pytest.importorskip("color_matcher.mvgd_matcher").TransferMVGD
    ran = []
    for solver in ("mkl_solver", "analytical_solver"):
        original = getattr(matcher, solver)
        monkeypatch.setattr(matcher, solver, lambda self, s=solver, o=original: (ran.append(s), o(self))[1])
    for method in ("hm-mkl-hm", ORACLE):
        result = CLASSICAL[method](photo(), photo(seed=1))
        assert result.dtype == np.uint8
    assert ran == ["mkl_solver", "analytical_solver"]


def test_color_matchers_results_are_not_stretched() -> None:
    pytest.importorskip("color_matcher")
    dull = (100 + photo(seed=1) // 8).astype(np.uint8)
    result = CLASSICAL["hm-mkl-hm"](photo(), dull)
    assert result.min() >= dull.min() - 1
    assert result.max() <= dull.max() + 1


def test_the_oracle_serves_the_aligned_track_alone() -> None:
    photos = Photos(photo(), photo())
    oracle = Method(ORACLE)
    assert oracle.serves(AlignedCase("x", HERE, HERE), photos)
    assert not oracle.serves(ProtocolCase("x", HERE, HERE, identical=False), photos)
    assert not oracle.serves(WildCase("x", HERE, HERE), photos)
    assert Method("mkl").serves(WildCase("x", HERE, HERE), photos)


def test_a_network_is_given_label_maps_only_under_its_name_with_labels(checkpoint: Path) -> None:
    labels = np.zeros((40, 50), np.uint8)
    labels[20:] = 1
    reference = photo(seed=1)
    reference[20:] //= 4
    case, photos = WildCase("x", HERE, HERE), Photos(photo(), reference, labels=(labels, labels))
    plain, labelled = choose_methods(["mkl"], [str(checkpoint)])[1:]
    assert plain.serves(case, photos)
    assert labelled.serves(case, photos)
    assert not labelled.serves(case, photos._replace(labels=None))
    transfer = ColorTransfer.load(checkpoint)
    assert np.array_equal(plain.recolor(photos), transfer.transfer(photo(), reference))
    assert np.array_equal(labelled.recolor(photos), transfer.transfer(photo(), reference, labels, labels))
