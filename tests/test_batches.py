"""Order, augmentation and normalisation of batches."""

from __future__ import annotations

from collections import Counter
from math import cos, floor, sin, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nhnas.spec.errors import InputError
from nhnas.trainer.augment import AUGMENTATIONS, MAX_ANGLE, augment
from nhnas.trainer.batches import Batch, batch_count, batches, ordered_batches, sample_order
from nhnas.trainer.dataset import Split, pixel_moments
from nhnas.trainer.sample_random import bits, permutation, stream, uniform

KEY = {"seed": 3, "version": 2, "epoch": 5}


def _images(n: int, channels: int = 2, height: int = 7, width: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)


def _split(n: int) -> Split:
    return Split(_images(n), torch.arange(n))


def _epoch(
    split: Split, batch: int = 8, augment: tuple[str, ...] = (), start: int = 0, **key: int
) -> list[Batch]:
    asked = KEY | key
    mean, std = torch.tensor([0.2, 0.3]), torch.tensor([0.5, 0.4])
    return list(
        batches(split, batch=batch, augment=augment, mean=mean, std=std, device="cpu", start=start, **asked)
    )


def _by_sample(epoch: list[Batch]) -> dict[int, Tensor]:
    return {
        int(number): image for one in epoch for number, image in zip(one.samples, one.inputs, strict=True)
    }


def test_bits_are_those_of_splitmix64() -> None:
    """The bits of samples 0, 1, … are the published outputs of SplitMix64 seeded with the key."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert published == bits(1234567, np.arange(4)).tolist()


def test_streams_differ_in_every_part() -> None:
    """Keys of different purposes differ, also where their parts read alike when joined."""
    keys = [("a", 1, 23), ("a", 12, 3), ("a", 123), ("a", "123"), ("b", 1, 23), ("a1", 23)]
    assert len(keys) == len({stream(*key) for key in keys})


def _chi_square(values: np.ndarray, cells: int = 50) -> float:
    counts = np.histogram(values, bins=cells, range=(0, 1))[0]
    expected = len(values) / cells
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_samples_are_uniform(seed: int) -> None:
    """Over samples, and for one sample over epochs, numbers fill [0, 1) evenly (chi-square, 49 degrees)."""
    over_samples = uniform(stream("x", seed, 0, 0), np.arange(20_000))
    over_epochs = np.array([uniform(stream("x", seed, 0, epoch), np.array([7]))[0] for epoch in range(5_000)])
    for values in (over_samples, over_epochs):
        assert values.min() >= 0
        assert values.max() < 1
        assert 20 < _chi_square(values) < 95  # both tails together: 2 in 10,000


def test_numbers_of_neighbours_are_independent() -> None:
    """Pairs of neighbouring samples, epochs and quantities show no correlation (within 4.5 deviations)."""
    n = 20_000
    here = uniform(stream("x", 0, 0, 0), np.arange(n))
    others = [
        uniform(stream("x", 0, 0, 0), np.arange(1, n + 1)),
        uniform(stream("x", 0, 0, 1), np.arange(n)),
        uniform(stream("y", 0, 0, 0), np.arange(n)),
    ]
    for other in others:
        assert abs(np.corrcoef(here, other)[0, 1]) < 4.5 / sqrt(n)


@given(st.integers(0, 2**64 - 1), st.integers(1, 500))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_a_permutation_holds_every_sample_once(key: int, n: int) -> None:
    """Each number below n occurs exactly once."""
    assert list(range(n)) == sorted(permutation(key, n).tolist())


def test_all_orders_of_a_few_samples_are_equally_likely() -> None:
    """The 24 orders of four samples occur equally often over 4,800 epochs (chi-square, 23 degrees)."""
    orders = Counter(
        tuple(sample_order(4, seed=0, version=0, epoch=epoch).tolist()) for epoch in range(4_800)
    )
    assert 24 == len(orders)
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 55


@pytest.mark.parametrize("change", [{"seed": 4}, {"version": 3}, {"epoch": 6}])
def test_order_and_augmentation_depend_on_seed_version_and_epoch(change: dict[str, int]) -> None:
    """Another seed, version or epoch gives another order and other augmentations."""
    split = _split(40)
    one, other = _epoch(split, augment=("crop",)), _epoch(split, augment=("crop",), **change)
    assert [b.samples.tolist() for b in one] != [b.samples.tolist() for b in other]
    mine, theirs = _by_sample(one), _by_sample(other)
    assert sum(not torch.equal(mine[i], theirs[i]) for i in range(40)) > 20


@given(
    n=st.integers(2, 40),
    batch=st.integers(1, 45),
    start=st.integers(0, 45),
    names=st.lists(st.sampled_from(sorted(AUGMENTATIONS)), max_size=3).map(tuple),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_an_epoch_taken_up_again_goes_on_as_if_never_left(
    n: int, batch: int, start: int, names: tuple[str, ...]
) -> None:
    """Batches from `start` on equal, bit for bit, those of the whole epoch."""
    split = _split(n)
    whole, rest = _epoch(split, batch, names), _epoch(split, batch, names, start=start)
    assert [b.index for b in whole[start:]] == [b.index for b in rest]
    for expected, actual in zip(whole[start:], rest, strict=True):
        assert torch.equal(expected.inputs, actual.inputs)
        assert torch.equal(expected.targets, actual.targets)
        assert torch.equal(expected.samples, actual.samples)


@pytest.mark.parametrize("names", [("crop", "flip"), ("shift", "rotate"), ("rotate", "flip", "rotate")])
def test_a_sample_changes_alike_in_batches_of_any_size(names: tuple[str, ...]) -> None:
    """The augmented image of a sample is bitwise the same whatever the batch that it is in."""
    split = _split(37)
    expected = _by_sample(_epoch(split, 37, names))
    for batch in (1, 2, 5, 16):
        actual = _by_sample(_epoch(split, batch, names))
        assert all(torch.equal(expected[i], actual[i]) for i in range(37))


@given(n=st.integers(2, 300), batch=st.integers(1, 310))
@settings(derandomize=True, deadline=None)
def test_every_sample_comes_once_and_none_comes_alone(n: int, batch: int) -> None:
    """An epoch holds each sample once; batches are full but the last, which has 2 to batch+1 samples."""
    split = Split(torch.zeros(n, 1), torch.arange(n))
    asked = {"augment": (), "mean": None, "std": None, "device": "cpu"}
    epoch = list(batches(split, batch=batch, **KEY, **asked))  # type: ignore[arg-type]
    assert batch_count(n, batch) == len(epoch)
    assert list(range(n)) == sorted(int(i) for b in epoch for i in b.targets)
    assert all(batch == len(b) for b in epoch[:-1])
    assert (1 if batch == 1 else 2) <= len(epoch[-1]) <= batch + 1


@pytest.mark.parametrize(
    ("n", "batch", "expected"),
    [
        (10, 5, 2),
        (11, 5, 2),
        (12, 5, 3),
        (3, 5, 1),
        (6, 5, 1),
        (5, 1, 5),
        (2, 1, 2),
        (391 * 128 + 1, 128, 391),
    ],
)
def test_a_single_sample_left_over_joins_the_batch_before(n: int, batch: int, expected: int) -> None:
    """One left over makes no batch of its own; batches of one are made only where asked for."""
    assert expected == batch_count(n, batch)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_are_refused_at_once(n: int) -> None:
    """A training split of one sample is bad input, before the first batch is asked for."""
    split = Split(torch.zeros(n, 1), torch.arange(n))
    with pytest.raises(InputError, match=f"at least two samples, the training split has {n}"):
        batches(split, batch=4, **KEY, augment=(), mean=None, std=None, device="cpu")


def test_batches_pair_inputs_with_their_targets_and_normalise() -> None:
    """Inputs are (pixel/255 - mean)/std of the samples named, with their targets, on the device."""
    split = _split(21)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in ([0.2, 0.3], [0.5, 0.4]))
    for one in _epoch(split):
        expected = (split.inputs[one.samples].double() / 255 - mean) / std
        assert torch.float32 == one.inputs.dtype
        torch.testing.assert_close(one.inputs.double(), expected, rtol=0, atol=1e-6)
        assert torch.equal(one.samples, one.targets)


def test_evaluation_reads_all_samples_as_they_lie() -> None:
    """Ordered batches hold every sample in order, also a last one alone, and leave the split as it was."""
    split = _split(9)
    before = split.inputs.clone()
    evaluated = list(ordered_batches(split, 4, torch.tensor([0.2, 0.3]), torch.tensor([0.5, 0.4]), "cpu"))
    assert [[0, 1, 2, 3], [4, 5, 6, 7], [8]] == [b.targets.tolist() for b in evaluated]
    trained = _by_sample(_epoch(split))
    assert all(torch.equal(trained[i], image) for i, image in _by_sample(evaluated).items())
    assert torch.equal(before, split.inputs)


def test_features_pass_unchanged() -> None:
    """Features without mean and std reach the network as they are, and the split is not written to."""
    split = Split(torch.randn(6, 3), torch.randn(6, 2))
    before = split.inputs.clone()
    (only,) = ordered_batches(split, 10, None, None, "cpu")
    assert torch.equal(before, only.inputs)
    only.inputs.add_(1.0)
    assert torch.equal(before, split.inputs)


def test_augmentation_of_features_is_refused() -> None:
    """Features cannot be cropped; the message says what to remove."""
    split = Split(torch.zeros(4, 3), torch.arange(4))
    with pytest.raises(
        InputError, match=r"data.augment: \[crop\] needs images; this data set has 3 features"
    ):
        batches(split, batch=2, **KEY, augment=("crop",), mean=None, std=None, device="cpu")


def test_an_unknown_augmentation_is_refused() -> None:
    """The message names the unknown one and those that exist."""
    with pytest.raises(InputError, match="unknown mirror; known are crop, shift, flip, rotate"):
        _epoch(_split(4), augment=("mirror",))


def _numbers(what: str, place: int, name: str, n: int) -> np.ndarray:
    return uniform(
        stream("augment", place, name, KEY["seed"], KEY["version"], KEY["epoch"], what), np.arange(n)
    )


@pytest.mark.parametrize(("name", "padding"), [("crop", 4), ("shift", 2)])
def test_crop_and_shift_cut_from_a_black_frame(name: str, padding: int) -> None:
    """Each pixel comes from its own place moved by whole pixels, black from outside."""
    images = _images(30)
    actual = augment(images, np.arange(30), (name,), **KEY)
    offsets = [
        [floor(u * (2 * padding + 1)) - padding for u in _numbers(axis, 0, name, 30)] for axis in ("y", "x")
    ]
    expected = torch.zeros_like(images)
    for b, (dy, dx) in enumerate(zip(*offsets, strict=True)):
        for i in range(7):
            for j in range(9):
                if 0 <= i + dy < 7 and 0 <= j + dx < 9:
                    expected[b, :, i, j] = images[b, :, i + dy, j + dx]
    assert torch.equal(expected, actual)
    assert torch.uint8 == actual.dtype


@pytest.mark.parametrize(("name", "padding"), [("crop", 4), ("shift", 2)])
def test_all_places_of_a_crop_are_equally_likely(name: str, padding: int) -> None:
    """The (2p+1)² offsets occur equally often (chi-square, within 5 deviations of its mean)."""
    places, n = (2 * padding + 1) ** 2, 8_100
    bright = torch.zeros(n, 1, 17, 17, dtype=torch.uint8)
    bright[:, 0, 8, 8] = 255
    found = augment(bright, np.arange(n), (name,), **KEY).flatten(1).argmax(1)
    counts = torch.bincount(found)
    counts = counts[counts > 0]
    assert places == len(counts)
    expected = n / places
    assert float(((counts - expected) ** 2 / expected).sum()) < places - 1 + 5 * sqrt(2 * (places - 1))


def test_flip_mirrors_half_of_the_images() -> None:
    """Each image is mirrored left and right or untouched, half of them each."""
    images = _images(2_000, 1, 2, 3)
    actual = augment(images, np.arange(2_000), ("flip",), **KEY)
    mirrored = (actual == images.flip(3)).flatten(1).all(1)
    untouched = (actual == images).flatten(1).all(1)
    assert bool((mirrored | untouched).all())
    assert 900 < int(mirrored.sum()) < 1100


def _pixel(image: Tensor, y: float, x: float) -> float:
    """Bilinear, 0 outside; the slow way."""
    total = 0.0
    for i in (floor(y), floor(y) + 1):
        for j in (floor(x), floor(x) + 1):
            if 0 <= i < image.shape[0] and 0 <= j < image.shape[1]:
                total += (1 - abs(y - i)) * (1 - abs(x - j)) * float(image[i, j])
    return total


def test_rotate_turns_about_the_centre_by_at_most_ten_degrees() -> None:
    """Every pixel is the bilinear value at its place turned back, zero outside; H differs from W."""
    images = _images(5)
    actual = augment(images, np.arange(5), ("rotate",), **KEY)
    for b, u in enumerate(_numbers("angle", 0, "rotate", 5)):
        angle = (2 * u - 1) * MAX_ANGLE
        for i in range(7):
            for j in range(9):
                y, x = i - 3, j - 4
                source = (sin(angle) * x + cos(angle) * y + 3, cos(angle) * x - sin(angle) * y + 4)
                for c in range(2):
                    assert actual[b, c, i, j].item() == pytest.approx(_pixel(images[b, c], *source), abs=2e-2)


def test_augmentations_are_composed_in_the_order_written() -> None:
    """A list equals its members applied one after the other, each with numbers of its own."""
    images = _images(12)
    both = augment(images, np.arange(12), ("flip", "crop"), **KEY)
    first = augment(images, np.arange(12), ("flip",), **KEY)
    down, right = ((_numbers(axis, 1, "crop", 12) * 9).astype(int) for axis in ("y", "x"))
    padded = torch.nn.functional.pad(first, (4, 4, 4, 4))
    for b in range(12):
        assert torch.equal(padded[b, :, down[b] : down[b] + 7, right[b] : right[b] + 9], both[b])


@given(n=st.integers(1, 5), channels=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_pixel_moments_are_those_of_all_pixels(n: int, channels: int, seed: int) -> None:
    """Mean and deviation of each channel equal numpy's in float64."""
    images = np.random.default_rng(seed).integers(0, 256, (n, channels, 3, 4)).astype(np.uint8)
    mean, std = pixel_moments(torch.from_numpy(images))
    np.testing.assert_allclose((images / 255.0).mean((0, 2, 3)), mean.numpy(), rtol=1e-6)
    np.testing.assert_allclose((images / 255.0).std((0, 2, 3)), std.numpy(), rtol=1e-6)


def test_a_constant_channel_has_deviation_one() -> None:
    """Dividing by the deviation of a constant channel must not give infinity."""
    mean, std = pixel_moments(torch.full((2, 1, 3, 3), 51, dtype=torch.uint8))
    assert mean.item() == pytest.approx(0.2)
    assert 1.0 == std.item()
