"""Data sets by name: toy problems, torchvision's sets, held-out samples, what fits a network."""

from __future__ import annotations

import struct
from dataclasses import replace
from math import cos, pi, sin, sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nhnas.spec.config import Data
from nhnas.spec.errors import InputError, StorageError
from nhnas.trainer.dataset import Dataset, Split
from nhnas.trainer.datasets import check_fits, load_dataset
from nhnas.trainer.sample_random import stream, uniform


@pytest.fixture(autouse=True)
def _no_data_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NHNAS_DATA", raising=False)


def _toy(name: str, seed: int = 0, **data: float) -> Dataset:
    return load_dataset(Data(dataset=name, **data), seed=seed, folder=Path("unused"))  # type: ignore[arg-type]


def _distance_to_arm(points: np.ndarray, sign: int) -> np.ndarray:
    """Distance of each point to one spiral, moved by half the noise; by search over 8,000 places of it."""
    t = np.linspace(0, 780 * pi / 180, 8_000)
    arm = sign * 0.1 * (np.stack((-np.cos(t) * t, np.sin(t) * t), axis=1) + 0.25)
    return np.array([np.linalg.norm(arm - point, axis=1).min() for point in points])


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_spirals_lie_on_their_own_arms(seed: int) -> None:
    """400 training points a class and 1,000 for test are within the noise of their arm and nearer to it."""
    data = _toy("spirals", seed)
    assert [400, 400] == torch.bincount(data.train.targets).tolist()
    assert [1000, 1000] == torch.bincount(data.test.targets).tolist()
    for split in (data.train, data.test):
        points = split.inputs[::4].double().numpy()
        own = np.where(split.targets[::4].numpy() == 0, 1, -1)
        first, second = _distance_to_arm(points, 1), _distance_to_arm(points, -1)
        mine, other = np.where(own == 1, first, second), np.where(own == 1, second, first)
        assert mine.max() < 0.05 * 2**0.5 + 1e-3
        assert (mine < other).all()


def test_the_second_spiral_is_the_reflection_of_the_first() -> None:
    """The second class is the first one's point reflection, noise included."""
    inputs = _toy("spirals").train.inputs
    assert torch.equal(inputs[:400], -inputs[400:])


def test_spirals_follow_the_authors_formula() -> None:
    """Point by point: t = √U·780°, (-t cos t, t sin t), half a U(0, 1) on each coordinate, times 0.1."""
    draws = [uniform(stream("spirals", 5, "train", what), np.arange(400)) for what in ("turn", "x", "y")]
    for (x, y), u, right, up in zip(_toy("spirals", 5).train.inputs[:400].tolist(), *draws, strict=True):
        t = sqrt(u) * 780 / 360 * 2 * pi
        assert x == pytest.approx(0.1 * (-t * cos(t) + 0.5 * right), abs=1e-6)
        assert y == pytest.approx(0.1 * (t * sin(t) + 0.5 * up), abs=1e-6)


def test_spirals_are_dense_as_the_root_makes_them() -> None:
    """With √U the squared radius is uniform up to 780°, and so are the quartiles of the points."""
    first = _toy("spirals").test.inputs[:1000].double().numpy()
    share = (np.linalg.norm(first / 0.1 - 0.25, axis=1) / (780 * pi / 180)) ** 2
    np.testing.assert_allclose(np.quantile(share, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.06)


@pytest.mark.parametrize("name", ["spirals", "regression2d"])
def test_toy_data_follow_the_seed(name: str) -> None:
    """The same seed gives the same bits, another seed other points; test points are not training points."""
    one, again, other = _toy(name, 1), _toy(name, 1), _toy(name, 2)
    assert torch.equal(one.train.inputs, again.train.inputs)
    assert torch.equal(one.test.inputs, again.test.inputs)
    assert not torch.equal(one.test.inputs, other.test.inputs)
    known = {tuple(point) for point in one.train.inputs.tolist()}
    assert not any(tuple(point) in known for point in one.test.inputs.tolist())


def test_regression2d_is_the_paper_authors_surface() -> None:
    """A 50×50 grid over the square and 2,000 uniform points carry 2 sin r - 1 + (x₁+x₂)/3."""
    data = _toy("regression2d")
    line = [-1 + 2 * i / 49 for i in range(50)]
    expected = torch.tensor([(a, b) for a in line for b in line])
    torch.testing.assert_close(data.train.inputs, expected, rtol=0, atol=1e-6)
    assert (2000, 1) == tuple(data.test.targets.shape)
    assert data.test.inputs.abs().max() < 1
    torch.testing.assert_close(data.test.inputs.mean(0), torch.zeros(2), rtol=0, atol=0.06)
    for split in (data.train, data.test):
        for (x1, x2), (height,) in zip(
            split.inputs[::50].tolist(), split.targets[::50].tolist(), strict=True
        ):
            u, v = -0.5 + 2 * x1, 1 + 3 * x2
            assert height == pytest.approx(2 * np.sin(np.hypot(u, v)) - 1 + (x1 + x2) / 3, abs=1e-5)


def test_toy_data_say_what_they_are() -> None:
    """Shapes, outputs and moments of features."""
    spirals, surface = _toy("spirals"), _toy("regression2d")
    assert ((2,), 2, True) == (spirals.input_shape, spirals.outputs, spirals.is_classification)
    assert ((2,), 1, False) == (surface.input_shape, surface.outputs, surface.is_classification)
    assert (None, None, None) == (spirals.mean, spirals.std, spirals.val)


def test_val_moves_part_of_the_training_set() -> None:
    """A quarter is held out, chosen by the seed, and together both parts are the training set."""
    whole, parted, other = _toy("spirals"), _toy("spirals", val=0.25), _toy("spirals", 1, val=0.25)
    assert parted.val is not None
    assert other.val is not None
    assert (600, 200) == (len(parted.train), len(parted.val))
    both = torch.cat((parted.train.inputs, parted.val.inputs)).tolist()
    assert sorted(whole.train.inputs.tolist()) == sorted(both)
    assert torch.equal(whole.test.inputs, parted.test.inputs)
    assert parted.val.targets.tolist() != other.val.targets.tolist()


@pytest.mark.parametrize(("fraction", "expected"), [(1e-9, (799, 1)), (1 - 1e-9, (2, 798))])
def test_val_leaves_something_on_both_sides(fraction: float, expected: tuple[int, int]) -> None:
    """However small or large the fraction, one sample is held out at least and two stay."""
    parted = _toy("spirals", val=fraction)
    assert parted.val is not None
    assert expected == (len(parted.train), len(parted.val))


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    """A misspelt name gets the nearest one and the list."""
    with pytest.raises(InputError, match=r"unknown cifar_10; did you mean cifar10.*built in are spirals, "):
        _toy("cifar_10")


def test_augmentation_of_toy_data_is_refused_on_loading() -> None:
    """The mistake is found before training starts."""
    with pytest.raises(InputError, match="needs images"):
        load_dataset(Data(dataset="spirals", augment=("flip",)), seed=0, folder=Path())


# --- MNIST, CIFAR -------------------------------------------------------------------------------


def _write_idx(path: Path, values: Tensor) -> None:
    header = struct.pack(f">I{values.ndim}I", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(header + values.numpy().tobytes())


def _write_mnist(root: Path, title: str = "MNIST") -> dict[str, tuple[Tensor, Tensor]]:
    raw = root / title / "raw"
    raw.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    written = {}
    for which, n in (("train", 30), ("t10k", 12)):
        images = torch.randint(0, 256, (n, 28, 28), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 10, (n,), dtype=torch.uint8, generator=generator)
        _write_idx(raw / f"{which}-images-idx3-ubyte", images)
        _write_idx(raw / f"{which}-labels-idx1-ubyte", labels)
        written[which] = images, labels
    return written


@pytest.mark.parametrize(("name", "title"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
@pytest.mark.parametrize("place", ["root", "absolute", "environment", "default"])
def test_mnist_is_read_from_the_first_place_named(
    name: str, title: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`data.root` counts from the spec's folder, then comes $NHNAS_DATA, then `data` beside the spec."""
    written = _write_mnist(tmp_path / ("data" if place == "default" else "sets"), title)
    if place == "environment":
        monkeypatch.setenv("NHNAS_DATA", str(tmp_path / "sets"))
    root = {"root": "sets", "absolute": str(tmp_path / "sets")}.get(place)
    data = load_dataset(Data(dataset=name, root=root), seed=0, folder=tmp_path)
    assert torch.equal(written["train"][0].unsqueeze(1), data.train.inputs)
    assert torch.equal(written["t10k"][1].long(), data.test.targets)
    assert ((1, 28, 28), 10) == (data.input_shape, data.outputs)
    pixels = written["train"][0].double() / 255
    assert data.mean is not None
    assert data.std is not None
    assert pixels.mean().item() == pytest.approx(data.mean.item(), rel=1e-6)
    assert pixels.std(correction=0).item() == pytest.approx(data.std.item(), rel=1e-6)


def test_moments_leave_out_what_is_held_out(tmp_path: Path) -> None:
    """Mean and deviation are those of the samples that are trained on."""
    _write_mnist(tmp_path)
    data = load_dataset(Data(dataset="mnist", root=".", val=0.5), seed=0, folder=tmp_path)
    assert data.mean is not None
    assert 15 == len(data.train)
    assert (data.train.inputs.double() / 255).mean().item() == pytest.approx(data.mean.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_missing_data_say_where_they_were_sought_and_how_to_get_them(name: str, tmp_path: Path) -> None:
    """One line with the path, `data.download`, `data.root` and NHNAS_DATA."""
    with pytest.raises(InputError) as caught:
        load_dataset(Data(dataset=name, root="sets"), seed=0, folder=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (name, str(tmp_path / "sets"), "data.download: true", "data.root", "NHNAS_DATA"):
        assert part in message


def test_one_missing_file_is_named(tmp_path: Path) -> None:
    """Where only the test labels are gone, the message names them."""
    _write_mnist(tmp_path)
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte"):
        load_dataset(Data(dataset="mnist", root="."), seed=0, folder=tmp_path)


@pytest.mark.parametrize("cut", [0, 3, 10, 1000])
def test_an_idx_file_cut_short_is_named(cut: int, tmp_path: Path) -> None:
    """A file that ends early is bad input, not a crash."""
    _write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="train-images-idx3-ubyte: not a whole IDX file"):
        load_dataset(Data(dataset="mnist", root="."), seed=0, folder=tmp_path)


def test_images_and_labels_of_different_number_are_refused(tmp_path: Path) -> None:
    """Both counts are told."""
    _write_mnist(tmp_path)
    _write_idx(tmp_path / "MNIST/raw/train-labels-idx1-ubyte", torch.zeros(29, dtype=torch.uint8))
    with pytest.raises(InputError, match="mnist, train split: 30 inputs but 29 targets"):
        load_dataset(Data(dataset="mnist", root="."), seed=0, folder=tmp_path)


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchvision raises without a network becomes a StorageError that names the set."""
    from torchvision import datasets

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets.MNIST, "download", fail)
    with pytest.raises(StorageError, match=r"^data.download: mnist could not be fetched: no route to host$"):
        load_dataset(Data(dataset="mnist", root=".", download=True), seed=0, folder=tmp_path)


def test_nothing_is_downloaded_where_the_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`download: true` does not touch the network once the data are there."""
    from torchvision import datasets

    _write_mnist(tmp_path)
    calls: list[object] = []
    monkeypatch.setattr(datasets.MNIST, "download", calls.append)
    load_dataset(Data(dataset="mnist", root=".", download=True), seed=0, folder=tmp_path)
    assert [] == calls


@pytest.mark.parametrize(
    ("name", "title", "classes"), [("cifar10", "CIFAR10", 10), ("cifar100", "CIFAR100", 100)]
)
def test_cifar_becomes_channels_first(
    name: str, title: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's [N, H, W, C] arrays and label lists become uint8 [N, C, H, W] and int64 [N]."""
    from torchvision import datasets

    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    asked = []

    def read(root: Path, train: bool) -> SimpleNamespace:
        asked.append((root, train))
        n = 4 if train else 2
        names = [f"class {i}" for i in range(classes)]
        return SimpleNamespace(data=pixels[:n], targets=[0, classes - 1, 1, 2][:n], classes=names)

    monkeypatch.setattr(datasets, title, read)
    data = load_dataset(Data(dataset=name, root="sets"), seed=0, folder=tmp_path)
    assert [(tmp_path / "sets", True), (tmp_path / "sets", False)] == asked
    assert ((3, 32, 32), classes, 4, 2) == (data.input_shape, data.outputs, len(data.train), len(data.test))
    assert pixels[1, 5, 7].tolist() == data.train.inputs[1, :, 5, 7].tolist()
    assert [0, classes - 1, 1, 2] == data.train.targets.tolist()
    assert data.train.inputs.is_contiguous()


# --- what fits ----------------------------------------------------------------------------------


def test_a_network_that_fits_is_accepted() -> None:
    """Nothing is raised for the right input, width and loss."""
    check_fits(_toy("spirals"), (2,), 2, "cross_entropy")
    check_fits(_toy("regression2d"), (2,), 1, "mse")


def test_all_that_does_not_fit_is_told_at_once() -> None:
    """Input, last width and loss, one line each, with what to write."""
    images = Split(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 9, 1]))
    data = Dataset("mnist", train=images, test=images)
    with pytest.raises(InputError) as caught:
        check_fits(data, (3, 32, 32), 7, "mse")
    assert [
        "input: spec says [3, 32, 32], mnist gives [1, 28, 28]; write input: [1, 28, 28]",
        "net: the last layer has width 7, mnist has 10 classes; write width: 10",
        "train.loss: spec says mse, mnist has classes as targets; write loss: cross_entropy",
    ] == str(caught.value).split("\n")


@pytest.mark.parametrize(("name", "what"), [("spirals", "2 classes"), ("regression2d", "1 values")])
def test_maps_at_the_end_are_refused(name: str, what: str) -> None:
    """No loss compares maps with targets; a map of 1 x 1 would be spread over the whole batch, silently."""
    data = _toy(name)
    width, loss = data.outputs, "cross_entropy" if data.is_classification else "mse"
    with pytest.raises(InputError) as caught:
        check_fits(data, (2,), width, loss, (1, 1))
    told = (
        f"net: the last layer writes maps [{width}, 1, 1], {name} has {what}; add global_avg_pool or flatten"
    )
    assert f"{told}, and a dense layer of width {width}" == str(caught.value)


def _split(n: int = 3, **changed: Tensor) -> Split:
    return replace(Split(torch.zeros(n, 2), torch.arange(n)), **changed)


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (
            _split(inputs=torch.zeros(3, 2, dtype=torch.float64)),
            _split(),
            "train split: inputs are float64 \\[3,2\\]",
        ),
        (_split(), _split(targets=torch.zeros(3)), "test split: targets are float32 \\[3\\]; expected int64"),
        (_split(targets=torch.arange(4)), _split(), "3 inputs but 4 targets"),
        (_split(), _split(0), "test split: .*expected some"),
        (
            _split(),
            _split(inputs=torch.zeros(3, 5)),
            "test split: inputs are float32 \\[3,5\\], those of the train",
        ),
        (
            _split(),
            _split(targets=torch.zeros(3, 2)),
            "test split: targets are float32 \\[3,2\\], those of the",
        ),
        (_split(targets=torch.tensor([0, -1, 1])), _split(), "train split: classes run from -1 to 1"),
        (
            _split(inputs=torch.tensor([[0, 0], [0, torch.inf], [0, 0]])),
            _split(),
            "input of sample 1 is NaN or inf",
        ),
        (
            _split(targets=torch.tensor([[0], [0], [torch.nan]])),
            _split(),
            "train split: target of sample 2 is NaN",
        ),
    ],
)
def test_data_of_the_wrong_kind_are_refused(train: Split, test: Split, expected: str) -> None:
    """A data set checks its splits when it is made, and names split and reason."""
    with pytest.raises(InputError, match=expected):
        Dataset("mine", train=train, test=test)


def test_classes_beyond_the_names_are_refused() -> None:
    """Two names, three classes."""
    with pytest.raises(InputError, match="classes run from 0 to 2; expected 0 to 1"):
        Dataset("mine", train=_split(), test=_split(), classes=("a", "b"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((np.int64(0), 1, 2), r"classes: np.int64\(0\) \(int64\): expected a text, such as '0'"),
        (("a", "b", "a"), r"classes: 'a' \(str\): is there twice; every class needs a name of its own"),
        (("a", "b", "\udcff"), r"classes: '\\udcff' \(str\): cannot be written as UTF-8"),
    ],
)
def test_names_that_no_version_could_keep_are_refused_before_training(
    names: tuple[Any, ...], expected: str
) -> None:
    """Numbers, doubles, and bytes that are no text."""
    with pytest.raises(InputError, match=expected):
        Dataset("mine", train=_split(), test=_split(), classes=names)


@pytest.mark.parametrize("names", [["a", "b", "c"], np.array(["a", "b", "c"])])
def test_names_may_come_as_any_sequence(names: Any) -> None:
    """A list, or an array of texts, as scikit-learn has them: kept as a tuple of plain texts."""
    found: Any = Dataset("mine", train=_split(), test=_split(), classes=names).classes
    assert ("a", "b", "c") == found
    assert [str] * 3 == [type(name) for name in found]


@pytest.mark.parametrize("names", ["abc", 3, {"a", "b", "c"}])
def test_names_that_are_no_sequence_of_names_are_refused(names: Any) -> None:
    """A text would be a name for each of its letters, a set of another order in every process."""
    told = f"data set mine: classes is {type(names).__name__}; expected a tuple of names, or None"
    with pytest.raises(InputError, match=told):
        Dataset("mine", train=_split(), test=_split(), classes=names)


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        (torch.zeros(2), None, "mean and std go together; one of them is None"),
        (0.0, torch.ones(2), r"mean is float; expected a tensor float32 \[2\]"),
        (torch.zeros(5), torch.ones(2), r"mean is float32 \[5\]; expected a tensor float32 \[2\]"),
        (torch.zeros(2), torch.zeros(2), r"std is \[0.0, 0.0\]; expected finite numbers above 0"),
        (torch.full((2,), torch.nan), torch.ones(2), r"mean is \[nan, nan\]; expected finite numbers"),
    ],
)
def test_moments_that_cannot_be_used_are_refused(mean: Any, std: Any, expected: str) -> None:
    """Before they make all outputs NaN, for which a learning rate would be blamed."""
    with pytest.raises(InputError, match=expected):
        Dataset("mine", train=_split(), test=_split(), mean=mean, std=std)
