"""DataLoaders that break off, never end, lie about their length or hold what is no number; and odd ones that are fine."""

import warnings

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError


def parts(windows, seed=0):
    make = torch.Generator().manual_seed(seed)
    return torch.randn(windows, 5, 3, generator=make), torch.arange(windows) % 2, torch.randn(windows, generator=make)


X, Y, V = parts(12)
SAME, VALIDATION, TEST = [parts(12)], [parts(6, 1)], [parts(6, 2)]


def loaders(train):
    return [train, VALIDATION, TEST]


class Odd:
    """A loader of any length and batches, which may be errors."""

    def __init__(self, length, *batches):
        self.length, self.batches = length, batches

    def __len__(self):
        if isinstance(self.length, BaseException):
            raise self.length
        return self.length

    def __iter__(self):
        for batch in self.batches:
            if isinstance(batch, BaseException):
                raise batch
            yield batch


class OddPart(list):
    """An attribute of it can't be read."""

    def __init__(self, name):
        super().__init__([parts(12)])
        self.name = name

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "__dict__").get("name"):
            raise RuntimeError("not now")
        return super().__getattribute__(name)


def masked(tensor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its API is a prototype
        return torch.masked.masked_tensor(tensor, torch.ones_like(tensor, dtype=torch.bool))


NO_START = AssertionError("nothing may be read")
TRAIN = "data_loaders.train"
CASES = [  # name, loaders, field, code
    ("breaks off", loaders(Odd(2, (X, Y, V), OSError("the disk\nfell off \x1b[31m"))), TRAIN, "batch-raises"),
    ("leaves", loaders(Odd(1, SystemExit(3))), TRAIN, "batch-raises"),
    ("is closed", loaders(Odd(1, GeneratorExit())), TRAIN, "batch-raises"),
    ("endless", loaders(Odd(3, *[parts(4)] * 9)), TRAIN, "too-many-batches"),
    ("a million million batches", loaders(Odd(10**12, NO_START)), TRAIN, "too-many-batches"),
    ("no length", loaders(Odd(RuntimeError("not yet"))), TRAIN, "length-raises"),
    ("a dict of loaders", {"train": [], "validation": [], "test": []}, "data_loaders", "not-three-loaders"),
    ("a generator of loaders", (each for each in ()), "data_loaders", "not-three-loaders"),
    ("a huge class", loaders([(X, Y * 10**12, V)]), f"{TRAIN}.y_class", "class-not-in-training"),
    (
        "a class beyond int64",
        loaders([(X, torch.full((12,), 2**64 - 1, dtype=torch.uint64), V)]),
        f"{TRAIN}.y_class",
        "negative-class",
    ),
    ("numbers whose squares overflow", loaders([(torch.full_like(X, 1e37), Y, V)]), f"{TRAIN}.x", "too-large"),
    ("values whose squares overflow", loaders([(X, Y, torch.full_like(V, -1e37))]), f"{TRAIN}.y_reg", "too-large"),
    ("a tensor without numbers", loaders([(X.to("meta"), Y, V)]), f"{TRAIN}.x", "not-dense"),
    ("a sparse tensor", loaders([(X.to_sparse(), Y, V)]), f"{TRAIN}.x", "not-dense"),
    ("a masked tensor", loaders([(masked(X), Y, V)]), f"{TRAIN}.x", "not-dense"),
    ("objects", loaders([(np.full((12, 5, 3), None), Y, V)]), f"{TRAIN}.x", "not-a-float-tensor"),
    *(
        (f"no {name}", loaders(OddPart(name)), TRAIN, "attribute-raises")
        for name in ("dataset", "batch_sampler", "sampler", "drop_last")
    ),
    ("train is validation", (SAME, SAME, TEST), "data_loaders.validation", "same-loader"),
    ("train is test", (SAME, VALIDATION, SAME), "data_loaders.test", "same-loader"),
    ("validation is test", ([parts(12)], SAME, SAME), "data_loaders.test", "same-loader"),
    (
        "validation was trained on",
        ([(X, Y, V)], [(X[3:9], 1 - Y[:6], V[:6])], TEST),
        "data_loaders.validation",
        "windows-repeated",
    ),
    (
        "test was trained on",
        ([(X, Y, V)], VALIDATION, [(X[[0, 0, 0, 2, 2, 2]], Y[:6], V[:6])]),
        "data_loaders.test",
        "windows-repeated",
    ),
]


@pytest.mark.parametrize(("given", "field", "code"), [pytest.param(*rest, id=name) for name, *rest in CASES])
def test_loaders_that_break_a_rule(given, field, code):
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(given, None)
    assert (caught.value.field, caught.value.code) == (field, code)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("dim", ["3", True, float("nan"), -3, np.array([3, 3])])
def test_input_dim_is_the_number_of_features(dim):
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(loaders([(X, Y, V)]), dim)
    assert (caught.value.field, caught.value.code) == ("input_dim", "another-input-dim")


def test_a_refused_batch_leaves_no_noise(capsys):
    """The loader is left in the midst of its batches."""
    with pytest.raises(DataError):
        dataset_from_loaders(loaders([None, None]), None)
    assert capsys.readouterr().err == ""


def test_a_loader_may_fill_one_tensor_anew_for_each_batch():
    class Refills:
        def __init__(self, seed):
            self.batches = [parts(4, seed + number) for number in range(3)]

        def __len__(self):
            return 3

        def __iter__(self):
            given = [torch.empty_like(tensor) for tensor in self.batches[0]]
            for batch in self.batches:
                for tensor, values in zip(given, batch, strict=True):
                    tensor.copy_(values)
                yield tuple(given)

    kept = dataset_from_loaders([Refills(seed) for seed in (10, 20, 30)], None)
    whole = dataset_from_loaders([list(Refills(seed).batches) for seed in (10, 20, 30)], None)
    assert kept.description["sha256"] == whole.description["sha256"]
    assert torch.equal(
        kept.validation.series.reshape(12, 5, 3), torch.cat([parts(4, seed)[0] for seed in (20, 21, 22)])
    )


def test_windows_that_are_judged_and_trained_on_are_counted():
    validation = tuple(torch.cat(two) for two in zip(parts(6, 1), (X[:2], Y[:2], V[:2]), strict=True))
    dataset = dataset_from_loaders([[(X, Y, V)], [validation], TEST], None)
    (warning,) = dataset.warnings
    assert dataset.description["warnings"] == [warning]
    assert [word for word in warning.split() if word.isdigit()] == ["2", "8"]


def test_a_dataset_with_keys_of_its_own_is_read():
    class Named(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, key):
            return X[int(key[1:])], Y[int(key[1:])], V[int(key[1:])]

    train = torch.utils.data.DataLoader(Named(), batch_size=5, sampler=[f"k{row}" for row in range(12)])
    assert len(dataset_from_loaders(loaders(train), None).train) == 12


def test_loaders_of_three_windows_are_enough():
    dataset = dataset_from_loaders([[parts(3)], [parts(1, 1)], [parts(1, 2)]], None)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (3, 1, 1)


# ---------------------------------------------------------------------- through the Python interface


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"resume": "no"}, "resume"),
        ({"quiet": 1}, "quiet"),
        ({"study_name": b"x"}, "study.name"),
        ({"data_loaders": None, "input_dim": 999}, "input_dim"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(arguments, named, tmp_path):
    given = {"data_loaders": loaders([(X, Y, V)]), "save_dir": tmp_path / "out", "quiet": True, **arguments}
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(**given)
    assert named in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("data", [{}, {"source": "loaders"}, {"lookback": 60, "train_share": 0.5, "horizon": 2}])
def test_settings_that_loaders_use_or_that_equal_the_defaults_are_accepted(data, tmp_path):
    CNNLSTMHyperparameterOptimizer(loaders([(X, Y, V)]), 3, tmp_path / "out", config={"data": data}, quiet=True)
