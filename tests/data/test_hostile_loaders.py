"""DataLoaders that break off, never end, lie about their length or hold what is no number; and odd ones that are fine."""

import warnings

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import DataError


def parts(windows, seed=0):
    make = torch.Generator().manual_seed(seed)
    return torch.randn(windows, 5, 3, generator=make), torch.arange(windows) % 2, torch.randn(windows, generator=make)


X, Y, V = parts(12)
SAME, VALIDATION, TEST = [parts(12)], [parts(6, 1)], [parts(6, 2)]


def loaders(train):
    return [train, VALIDATION, TEST]


def throw(error):
    raise error


class Odd:
    """A loader of any length and batches, which may be errors."""

    def __init__(self, length, *batches):
        self.length, self.batches = length, batches

    def __len__(self):
        return throw(self.length) if isinstance(self.length, BaseException) else self.length

    def __iter__(self):
        return (throw(batch) if isinstance(batch, BaseException) else batch for batch in self.batches)


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
BEYOND_INT64 = torch.full((12,), 2**64 - 1, dtype=torch.uint64)
CASES = [  # name, loaders, field, code
    ("breaks off", loaders(Odd(2, (X, Y, V), OSError("the disk\nfell off \x1b[31m"))), TRAIN, "batch-raises"),
    ("is closed", loaders(Odd(1, GeneratorExit())), TRAIN, "batch-raises"),
    ("endless", loaders(Odd(3, *[parts(4)] * 9)), TRAIN, "too-many-batches"),
    ("a million million batches", loaders(Odd(10**12, NO_START)), TRAIN, "too-many-batches"),
    ("no length", loaders(Odd(RuntimeError("not yet"))), TRAIN, "length-raises"),
    ("a dict of loaders", {"train": [], "validation": [], "test": []}, "data_loaders", "not-three-loaders"),
    ("a generator of loaders", (each for each in ()), "data_loaders", "not-three-loaders"),
    ("a huge class", loaders([(X, Y * 10**12, V)]), f"{TRAIN}.y_class", "class-not-in-training"),
    ("a class beyond int64", loaders([(X, BEYOND_INT64, V)]), f"{TRAIN}.y_class", "negative-class"),
    ("numbers whose squares overflow", loaders([(torch.full_like(X, 1e37), Y, V)]), f"{TRAIN}.x", "too-large"),
    ("values whose squares overflow", loaders([(X, Y, torch.full_like(V, -1e37))]), f"{TRAIN}.y_reg", "too-large"),
    ("a tensor without numbers", loaders([(X.to("meta"), Y, V)]), f"{TRAIN}.x", "not-dense"),
    ("a sparse tensor", loaders([(X.to_sparse(), Y, V)]), f"{TRAIN}.x", "not-dense"),
    ("a masked tensor", loaders([(masked(X), Y, V)]), f"{TRAIN}.x", "not-dense"),
    ("objects", loaders([(np.full((12, 5, 3), None), Y, V)]), f"{TRAIN}.x", "not-a-float-tensor"),
    *(
        (f"no {name}", loaders(OddPart(name)), TRAIN, "attribute-raises")
        for name in ("dataset", "sampler", "drop_last")
    ),
    ("train is validation", (SAME, SAME, TEST), "data_loaders.validation", "same-loader"),
    ("validation is test", ([parts(12)], SAME, SAME), "data_loaders.test", "same-loader"),
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
    class Refills(list):
        def __iter__(self):
            filled = [torch.empty_like(tensor) for tensor in self[0]]
            for batch in super().__iter__():
                for tensor, values in zip(filled, batch, strict=True):
                    tensor.copy_(values)
                yield tuple(filled)

    batches = [[parts(4, seed + number) for number in range(3)] for seed in (10, 20, 30)]
    kept, whole = (dataset_from_loaders(given, None) for given in ([Refills(each) for each in batches], batches))
    assert kept.description["sha256"] == whole.description["sha256"]
    assert torch.equal(kept.validation.series.reshape(12, 5, 3), torch.cat([each[0] for each in batches[1]]))


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


@pytest.mark.parametrize("data", [{}, {"source": "loaders"}, {"lookback": 60, "train_share": 0.5, "horizon": 2}])
def test_settings_that_loaders_use_or_that_equal_the_defaults_are_accepted(data, tmp_path):
    CNNLSTMHyperparameterOptimizer(loaders([(X, Y, V)]), 3, tmp_path / "out", config={"data": data}, quiet=True)
