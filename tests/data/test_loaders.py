"""Datasets from DataLoaders: every window with its label and value, one order, and a type, field and code for each error."""

import warnings
from itertools import repeat

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import data
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from builders.errors import raises
from builders.loaders import FEATURES, SIZES, TIME, loader, parts, three
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import Fixed
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError
from cnn_lstm_hyperopt.search import space_of_data

NAMES = ("train", "validation", "test")


def with_train(train, **options) -> list:
    return [train, *three(**options)[1:]]


def with_split(split: int, other) -> list:
    return [other if number == split else each for number, each in enumerate(three())]


def test_the_horizon_by_which_windows_overlap(tmp_path):
    dataset = dataset_from_loaders(three(), None, horizon=4)
    assert (dataset.horizon, dataset.description["horizon"]) == (4, 4)
    given = {"config": {"data": {"horizon": 4}}, "quiet": True}
    assert CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path, **given).dataset.horizon == 4


def test_the_architecture_of_a_new_study_is_full_unless_it_is_named(tmp_path):
    for space, architecture in (
        ({}, "full"),
        ({"cnn": {"blocks": 2}}, "full"),
        ({"architecture": "classic"}, "classic"),
    ):
        given = {"config": {"search_space": space}, "quiet": True}
        settings = CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path, **given).settings
        assert settings.search_space.architecture == architecture


@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_all_windows_with_their_own_labels_and_values(n_classes, values):
    dataset = dataset_from_loaders(three(n_classes=n_classes, values=values), FEATURES)
    assert (dataset.n_classes, dataset.has_regression) == (n_classes, values)
    assert dataset.class_names == tuple(f"class {number}" for number in range(n_classes))
    assert dataset.value_name == ("y_reg" if values else None)
    (fold,) = dataset.folds
    assert (fold.train, fold.validation) == (dataset.train, dataset.validation)
    assert (dataset.lookback, dataset.train.input_dim, dataset.test.times_opened) == (TIME, FEATURES, 0)
    for seed, windows in enumerate((dataset.train, dataset.validation, dataset.test.open())):
        x, y, *value = parts(SIZES[seed], seed, n_classes=n_classes, values=values)
        assert len(windows) == SIZES[seed]
        drained = windows.gather(torch.arange(len(windows)))
        places = [int((drained == own).all(dim=(1, 2)).nonzero().item()) for own in x]
        assert sorted(places) == list(range(len(windows)))
        assert seed == 0 or places == sorted(places)  # validation and test keep their order
        assert windows.dates.tolist() == list(range(len(windows)))
        assert torch.equal(windows.labels[places], y)
        assert (windows.values is None) is not values
        if values:
            assert torch.equal(windows.values[places], value[0])


def test_the_scale_of_values_is_that_of_training():
    x, y, value = parts(SIZES[0])
    constant = [(x, y, torch.full_like(value, 3))]
    for train, expected in (
        (three()[0], (value.double().mean(), value.double().std(correction=0))),
        (constant, (3, 1)),
    ):
        dataset = dataset_from_loaders(with_train(train), None)
        assert (dataset.value_mean, dataset.value_std) == pytest.approx(tuple(map(float, expected)))
    without = dataset_from_loaders(three(values=False), None)
    assert (without.value_mean, without.value_std) == (0.0, 1.0)


@pytest.mark.parametrize("number", [torch.float16, torch.float64])
@pytest.mark.parametrize("whole", [torch.int32, torch.uint8, torch.bool])
def test_batches_of_other_types_become_float32_and_int64(number, whole):
    """Also values as a column, and windows with a graph."""
    x, y, value = parts(12, n_classes=2)
    batch = x.to(number).requires_grad_(), y.to(whole), value.to(number).unsqueeze(1)
    train = dataset_from_loaders(with_train([batch], n_classes=2), None).train
    assert (train.series.dtype, train.labels.dtype, train.values.dtype) == (torch.float32, torch.int64, torch.float32)
    assert train.values.shape == (12,)
    assert not train.series.requires_grad


def test_each_loader_is_iterated_exactly_once():
    class Counted(list):
        iterations = 0

        def __iter__(self):
            self.iterations += 1
            return super().__iter__()

    loaders = [Counted([parts(windows, seed)]) for seed, windows in enumerate(SIZES)]
    dataset_from_loaders(loaders, FEATURES)
    assert [each.iterations for each in loaders] == [1, 1, 1]


def test_the_description_has_the_facts():
    dataset = dataset_from_loaders(three(), None, train_share=0.5)
    assert len(dataset.search_train) == len(dataset.for_trials().folds[0].train) == 12
    description = dataset.description
    assert (description["source"], description["lookback"], description["features"]) == ("DataLoaders", TIME, FEATURES)
    assert (description["class_names"], description["value_name"]) == (["class 0", "class 1", "class 2"], "y_reg")
    assert (description["train_share"], description["warnings"]) == (0.5, [])
    assert description["splits"] == {
        name: {"windows": size, "class_counts": [size // 3] * 3, "class_shares": [1 / 3] * 3}
        for name, size in zip(NAMES, SIZES, strict=True)
    }


def test_windows_stay_raw_and_networks_standardise_them_unless_the_settings_say_no(tmp_path):
    loaders = three()
    for each in loaders:
        each.dataset.tensors[0].mul_(1000)
    for flag in (True, False):
        given = {"config": {"search_space": {"inputs": {"standardise": flag}}}, "quiet": True}
        optimizer = CNNLSTMHyperparameterOptimizer(loaders, FEATURES, tmp_path / str(flag), **given)
        dataset, space = optimizer.dataset, optimizer.settings.search_space
        assert float(dataset.train.series.abs().max()) > 1000
        assert dataset.description["raw_windows"] is True
        assert dataset.warnings == ()
        of_data = space_of_data(space, (), one_task=False, raw=dataset.for_trials().raw)
        assert of_data.domains["inputs.standardise"] == Fixed(flag)


def shuffled(seed: int, *, values: bool = True) -> list:
    return [
        loader(parts(windows, number, values=values), shuffle=True, generator=torch.Generator().manual_seed(seed))
        for number, windows in enumerate(SIZES)
    ]


@pytest.mark.parametrize("values", [True, False])
def test_windows_have_one_order_whatever_the_shuffling(values):
    loaders = shuffled(1, values=values), shuffled(2, values=values), three(values=values)
    first, other, ordered = (dataset_from_loaders(each, None) for each in loaders)
    assert first.warnings == ()  # without dates the order means nothing
    assert torch.equal(first.search_train.starts, ordered.search_train.starts)
    pairs = [(first.train, each.train) for each in (other, ordered)]
    for mine, its in [*pairs, (first.validation, other.validation), (first.test.open(), other.test.open())]:
        assert (mine.values is None) is not values
        for name in ("series", "labels", *["values"] * values):
            assert torch.equal(getattr(mine, name), getattr(its, name))


def test_the_sha256_depends_on_neither_order_nor_batches_nor_worker_processes():
    loaders = [shuffled(1), shuffled(2), three(), [[parts(n, seed)] for seed, n in enumerate(SIZES)]]
    loaders.append([loader(parts(windows, seed), num_workers=1) for seed, windows in enumerate(SIZES)])
    assert len({dataset_from_loaders(each, None).description["sha256"] for each in loaders}) == 1


@pytest.mark.parametrize("split", [0, 1, 2])
@pytest.mark.parametrize("field", [0, 1, 2])
def test_any_other_number_is_another_sha256(split, field):
    tensors = [[tensor.clone() for tensor in parts(windows, seed)] for seed, windows in enumerate(SIZES)]
    if field == 1:  # a 3-cycle of labels keeps the counts
        tensors[split][1] = (tensors[split][1] + 1) % 3
    else:
        tensors[split][field].view(-1)[7] += 0.5
    changed = dataset_from_loaders([[tuple(each)] for each in tensors], None)
    assert changed.description["sha256"] != dataset_from_loaders(three(), None).description["sha256"]


def test_windows_that_differ_in_their_value_alone_have_one_order_too():
    _, _, value = parts(12)
    x, y, turned = parts(1)[0].expand(12, -1, -1), torch.arange(12) % 3, torch.roll(value, 3)  # classes stay in place
    first, other = (dataset_from_loaders(with_train([(x, y, each)]), None) for each in (value, turned))
    assert torch.equal(first.train.values, other.train.values)
    assert first.description["sha256"] == other.description["sha256"]


class Items(data.Dataset):
    """Adds noise anew each time; raises at item ``end``."""

    def __init__(self, tensors, *, noise: float = 0.0, arrays: bool = False, end: int = 1000, error=None) -> None:
        self.tensors, self.noise, self.arrays, self.end, self.error = tensors, noise, arrays, end, error

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int):
        if index >= self.end:
            raise self.error
        x, y, value = (tensor[index] for tensor in self.tensors)
        x = x + self.noise * torch.randn(x.shape)
        return (x.numpy(), y.numpy(), value.numpy()) if self.arrays else (x, y, value)


class Counts(data.Sampler):
    """Promises ``length`` items or batches, and chooses ``chosen`` items."""

    def __init__(self, length: int, chosen: int, batch_size: int | None = None) -> None:
        self.length, self.chosen, self.batch_size = length, chosen, batch_size

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        size = self.batch_size or 1
        batches = (range(start, min(start + size, self.chosen)) for start in range(0, self.chosen, size))
        return batches if self.batch_size else iter(range(self.chosen))


@pytest.mark.parametrize(
    ("split", "odd", "windows"),
    [
        (0, DataLoader(Items(parts(24), noise=0.1), batch_size=5), 24),
        (0, DataLoader(Items(parts(24), noise=0.1, arrays=True), batch_size=5), 24),
        (1, loader(parts(12, 1), batch_size=7, drop_last=True), 7),
        (2, loader(parts(80, 2), batch_size=16, collate_fn=lambda items: data.default_collate(items[1:])), 75),
    ],
)
def test_a_loader_that_changes_or_drops_windows_is_warned_of(split, odd, windows):
    dataset = dataset_from_loaders(with_split(split, odd), None)
    assert len((dataset.train, dataset.validation, dataset.test)[split]) == windows
    (line,) = dataset.warnings
    assert NAMES[split] in line
    assert dataset.description["warnings"] == [line]


class Named(data.Dataset):
    """Has keys of its own."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, key: str):
        return tuple(tensor[int(key[1:])] for tensor in parts(24))


def rows(items):
    chosen = [each["row"] if isinstance(each, dict) else each for each in items]
    return tuple(tensor[chosen] for tensor in parts(24))


@pytest.mark.parametrize(
    ("train", "windows"),
    [
        (DataLoader(Items(parts(24)), batch_size=5), 24),
        (DataLoader(list(range(24)), batch_size=5, collate_fn=rows), 24),
        (DataLoader([{"row": row} for row in range(24)], batch_size=5, collate_fn=rows), 24),
        (loader(parts(80), batch_size=32, shuffle=True), 80),
        (loader(parts(80), batch_size=80), 80),
        (loader(parts(80), batch_size=16, sampler=data.SubsetRandomSampler(range(30))), 30),
        (loader(parts(80), batch_sampler=Counts(3, 48, batch_size=16), batch_size=1), 48),
        (loader(parts(24), sampler=RandomSampler(range(24))), 24),
        (loader(parts(24), sampler=WeightedRandomSampler(torch.ones(24), 24, replacement=False)), 24),
        (DataLoader([parts(10, 7), parts(12, 8)], batch_size=None), 22),
        (DataLoader(Named(), batch_size=5, sampler=[f"k{row}" for row in range(24)]), 24),
        ([parts(3)], 3),
    ],
)
def test_loaders_of_all_kinds_are_read_whole_without_a_warning(train, windows):
    dataset = dataset_from_loaders(with_train(train), None)
    assert (len(dataset.train), dataset.warnings) == (windows, ())


@pytest.mark.parametrize("data", [{}, {"source": "loaders"}, {"lookback": 60, "train_share": 0.5, "horizon": 2}])
def test_settings_that_loaders_use_or_that_equal_the_defaults_are_accepted(data, tmp_path):
    CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path / "out", config={"data": data}, quiet=True)


class Endless(data.IterableDataset):
    def __iter__(self):
        return repeat((torch.zeros(TIME, FEATURES), torch.tensor(0)))


class Numbered:
    """Iterated by number, as Python does without ``__iter__``."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int):
        if number:
            raise IndexError
        return parts(12)


def every(change) -> list:
    """Three loaders of one batch each, changed by ``change(x, y, value)``."""
    return [[change(*parts(windows, seed))] for seed, windows in enumerate(SIZES)]


def changed(part: int, place: int, number: float, tensors=None) -> tuple[Tensor, ...]:
    tensors = [tensor.clone() for tensor in tensors or parts(12, 1)]
    tensors[part] = tensors[part].double()
    tensors[part].view(-1)[place] = number
    return tuple(tensors)


def ends(place: int, split: int = 0, error=StopIteration) -> Items:
    return Items(parts(80, split), end=place, error=error)


def throw(error):
    raise error


class Odd:
    """A loader of any length and batches, which may be errors."""

    def __init__(self, length, *batches) -> None:
        self.length, self.batches = length, batches

    def __len__(self) -> int:
        return throw(self.length) if isinstance(self.length, BaseException) else self.length

    def __iter__(self):
        return (throw(batch) if isinstance(batch, BaseException) else batch for batch in self.batches)


class OddPart(list):
    """An attribute of it can't be read."""

    def __init__(self, name: str) -> None:
        super().__init__([parts(12)])
        self.name = name

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "__dict__").get("name"):
            raise RuntimeError("not now")
        return super().__getattribute__(name)


def masked(tensor: Tensor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its API is a prototype
        return torch.masked.masked_tensor(tensor, torch.ones_like(tensor, dtype=torch.bool))


X, Y, VALUE = parts(12)
SAME, HUGE_CLASS = [parts(12)], torch.full((12,), 2**64 - 1, dtype=torch.uint64)
TEN, TWELVE = torch.zeros(12, TIME, FEATURES), torch.zeros(12, dtype=torch.int64)
NO_LABELS = (VALUE, VALUE.to(torch.complex64), TWELVE[:, None], VALUE[:, None] * Y, TWELVE[:11], [0] * 12, None)
INF, NAN = float("inf"), float("nan")
REPLACING = RandomSampler(range(24), replacement=True)
REPLACED = [
    loader(parts(24), sampler=RandomSampler(range(24), replacement=True, num_samples=100)),
    loader(parts(24), sampler=WeightedRandomSampler(torch.ones(24), 24, replacement=True)),
    DataLoader(TensorDataset(*parts(24)), batch_sampler=data.BatchSampler(REPLACING, batch_size=5, drop_last=False)),
]
REFUSED = {  # code: (field after data_loaders, loaders) …
    "not-three-loaders": [
        ("", []),
        ("", three()[:2]),
        ("", [*three(), three()[0]]),
        ("", dict(zip(NAMES, three(), strict=True))),
        ("", (each for each in ())),
    ],
    "not-a-batch": [(".train", with_train([batch])) for batch in (TEN, (TEN,), [VALUE] * 4, {"x": 1, "y": 2}, None)],
    "not-a-float-tensor": [
        *((".train.x", with_train([(torch.zeros(shape), Y, VALUE)])) for shape in [(12, 5), (12, 5, 3, 1), (12,)]),
        *((".train.x", with_train([(TEN.to(kind), Y, VALUE)])) for kind in (torch.int64, torch.bool, torch.complex64)),
        *((".train.x", with_train([(x, Y, VALUE)])) for x in (X.numpy(), np.full((12, 5, 3), None))),
        *((".train.y_reg", with_train([(X, Y, v)])) for v in (TWELVE, torch.zeros(12, 2), torch.zeros(11), "text")),
    ],
    "not-an-integer-tensor": [(".train.y_class", with_train([(X, labels, VALUE)])) for labels in NO_LABELS],
    "not-finite": [
        *((".validation.x", with_split(1, loader(changed(0, 8 * TIME * FEATURES, bad)))) for bad in (NAN, INF, -INF)),
        *((".validation.y_reg", with_split(1, loader(changed(2, 8, bad)))) for bad in (NAN, INF, -INF)),
        *((f".train.{name}", with_train([changed(part, 3, 1e300)])) for part, name in ((0, "x"), (2, "y_reg"))),
    ],
    "empty-loader": [
        *((f".{NAMES[split]}", with_split(split, empty)) for split in range(3) for empty in ([], [parts(0)])),
        (".train", with_train(loader(parts(3), drop_last=True))),
    ],
    "class-not-in-training": [
        *((".train.y_class", with_split(n, loader(parts(SIZES[n], n, n_classes=5)))) for n in (1, 2)),
        (".train.y_class", with_train([(X, torch.tensor([0, 2, 3])[Y], VALUE)])),
        (".train.y_class", with_train([(X, Y * 10**12, VALUE)])),
    ],
    "one-class": [(".train.y_class", every(lambda x, y, value: (x, torch.zeros_like(y), value)))],
    "negative-class": [(".train.y_class", with_train([(X, y, VALUE)])) for y in (Y - 1, HUGE_CLASS)],
    "sampling-with-replacement": [(".train", with_train(train)) for train in REPLACED],
    "no-length": [
        (".train", with_train(DataLoader(Endless(), batch_size=5))),
        (".train", with_train(batch for batch in [parts(12)])),
        (".train", with_train(zip(*([tensor] for tensor in parts(12)), strict=True))),
    ],
    "shapes-differ": [
        (".train", with_train([(X, Y, VALUE), (X[:, :4], Y, VALUE)])),
        ("", with_split(1, loader((X[:, :4], Y, VALUE)))),
        ("", with_split(2, loader((X[:, :, :2], Y, VALUE)))),
    ],
    "values-in-some": [
        *(("", with_split(split, loader(parts(SIZES[split], split, values=False)))) for split in range(3)),
        (".train.y_reg", with_train([parts(12, 0), parts(12, 1, values=False)])),
    ],
    "too-few-steps": [("", every(lambda x, y, value: (x[:, :1], y, value)))],
    "no-features": [("", every(lambda x, y, value: (x[:, :, :0], y, value)))],
    "batches-missing": [
        *((f".{NAMES[split]}", with_split(split, DataLoader(ends(40, split)))) for split in range(3)),
        (".train", with_train(DataLoader(ends(0), batch_size=16))),
        (".train", with_train(DataLoader(TensorDataset(*parts(80)), batch_sampler=Counts(5, 48, batch_size=16)))),
        (".train", with_train(Numbered())),
    ],
    "batch-raises": [
        (".train", with_train(DataLoader(ends(40, error=IndexError), batch_size=16))),
        (".train", with_train(Odd(2, (X, Y, VALUE), OSError("the disk\nfell off \x1b[31m")))),
        (".train", with_train(Odd(1, GeneratorExit()))),
    ],
    "too-many-batches": [
        (".train", with_train(Odd(3, *[parts(4)] * 9))),
        (".train", with_train(Odd(10**12, AssertionError("nothing may be read")))),
    ],
    "length-raises": [(".train", with_train(Odd(RuntimeError("not yet"))))],
    "too-large": [
        (".train.x", with_train([(torch.full_like(X, 1e37), Y, VALUE)])),
        (".train.y_reg", with_train([(X, Y, torch.full_like(VALUE, -1e37))])),
    ],
    "not-dense": [(".train.x", with_train([(x, Y, VALUE)])) for x in (X.to("meta"), X.to_sparse(), masked(X))],
    "attribute-raises": [(".train", with_train(OddPart(name))) for name in ("dataset", "sampler", "drop_last")],
    "same-loader": [(".validation", [SAME, SAME, three()[2]]), (".test", [three()[0], SAME, SAME])],
    "windows-missing": [(".train", with_train(loader(parts(80), sampler=Counts(80, 65), batch_size=16)))],
}


@pytest.mark.parametrize(
    ("code", "field", "loaders"), [(code, *case) for code, cases in REFUSED.items() for case in cases]
)
def test_loaders_that_break_a_rule_are_refused(code, field, loaders):
    with raises(DataError, code, f"data_loaders{field}") as text:
        dataset_from_loaders(loaders, None)
    assert text[0].isprintable()
    assert len(text[0]) < 400


@pytest.mark.parametrize("dim", ["3", True, float("nan"), -3, np.array([3, 3])])
def test_input_dim_is_the_number_of_features(dim):
    with raises(DataError, "another-input-dim", "input_dim"):
        dataset_from_loaders(three(), dim)


def test_a_refused_batch_leaves_no_noise(capsys):
    """The loader is left in the midst of its batches."""
    with raises(DataError, "not-a-batch"):
        dataset_from_loaders(with_train([None, None]), None)
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


@pytest.mark.slow  # torch waits five seconds for its worker
def test_a_dataset_that_stops_early_in_a_worker_process():
    train = DataLoader(ends(40), batch_size=16, num_workers=1)
    with raises(DataError, "batches-missing"):
        dataset_from_loaders(with_train(train), None)


def test_settings_that_loaders_do_not_use_are_refused(tmp_path):
    config = {"data": {"feature_columns": ["mood"], "features": "mine:features"}}
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path / "results", config=config, quiet=True)
    assert "feature_columns, features:" in str(caught.value)
