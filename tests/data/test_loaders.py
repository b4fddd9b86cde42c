"""Datasets from DataLoaders: every window with its label and value, one order, and a type, field and code for each error."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError

TIME, FEATURES = 5, 3
SIZES = (24, 12, 9)
NAMES = ("train", "validation", "test")


def parts(windows: int, seed: int = 0, *, n_classes: int = 3, values: bool = True) -> tuple[Tensor, ...]:
    """x, y_class, y_reg of random data in which every class occurs."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(windows, TIME, FEATURES)).astype(np.float32))
    y = torch.from_numpy(rng.permutation(np.arange(windows) % n_classes))
    return (x, y, torch.from_numpy(rng.normal(3, 2, windows).astype(np.float32))) if values else (x, y)


def loader(tensors: tuple[Tensor, ...], **options) -> DataLoader:
    return DataLoader(TensorDataset(*tensors), **{"batch_size": 5, **options})


def three(**options) -> list:
    return [loader(parts(windows, seed, **options)) for seed, windows in enumerate(SIZES)]


def with_train(train, **options) -> list:
    return [train, *three(**options)[1:]]


def with_split(split: int, other) -> list:
    return [other if number == split else each for number, each in enumerate(three())]


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_horizon_by_which_windows_overlap(horizon, tmp_path):
    dataset = dataset_from_loaders(three(), None, horizon=horizon)
    assert (dataset.horizon, dataset.description["horizon"]) == (horizon, horizon)
    config = {"data": {"horizon": horizon}}
    optimizer = CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path, config=config, quiet=True)
    assert optimizer.dataset.horizon == horizon


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
    dataset = dataset_from_loaders(three(), None)
    values = parts(SIZES[0], 0)[2].double().numpy()
    assert (dataset.value_mean, dataset.value_std) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    x, y, value = parts(12)
    assert dataset_from_loaders(with_train(loader((x, y, torch.full_like(value, 3)))), None).value_std == 1.0
    without = dataset_from_loaders(three(values=False), None)
    assert (without.value_mean, without.value_std) == (0.0, 1.0)


@pytest.mark.parametrize("number", [torch.float16, torch.float64])
@pytest.mark.parametrize("whole", [torch.int32, torch.uint8, torch.bool])
def test_other_precisions_become_float32_and_int64(number, whole):
    x, y, value = parts(12, n_classes=2)
    train = dataset_from_loaders(
        with_train(loader((x.to(number), y.to(whole), value.to(number))), n_classes=2), None
    ).train
    assert (train.series.dtype, train.labels.dtype, train.values.dtype) == (torch.float32, torch.int64, torch.float32)


def test_a_list_of_batches_with_values_as_a_column_and_x_with_a_graph():
    x, y, value = parts(12)
    train = dataset_from_loaders(with_train([[x.clone().requires_grad_(), y, value.unsqueeze(1)]]), None).train
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


class TestOrder:
    def shuffled(self, seed: int, *, values: bool = True) -> list:
        return [
            loader(parts(windows, number, values=values), shuffle=True, generator=torch.Generator().manual_seed(seed))
            for number, windows in enumerate(SIZES)
        ]

    @pytest.mark.parametrize("values", [True, False])
    def test_training_windows_have_one_order_whatever_the_shuffling(self, values):
        first, other = (dataset_from_loaders(self.shuffled(seed, values=values), None) for seed in (1, 2))
        for dataset in (other, dataset_from_loaders(three(values=values), None)):
            assert torch.equal(dataset.train.series, first.train.series)
            assert torch.equal(dataset.train.labels, first.train.labels)
            assert values is (dataset.train.values is not None)
            if values:
                assert torch.equal(dataset.train.values, first.train.values)
            assert torch.equal(dataset.search_train.starts, first.search_train.starts)

    @pytest.mark.parametrize("split", [1, 2])
    def test_shuffled_validation_and_test_windows_have_one_order(self, split):
        first, other = (dataset_from_loaders(with_split(split, self.shuffled(seed)[split]), None) for seed in (1, 2))
        mine, its = ((each.validation, each.test.open())[split - 1] for each in (first, other))
        for name in ("series", "labels", "values"):
            assert torch.equal(getattr(mine, name), getattr(its, name))
        assert first.warnings == ()  # without dates the order means nothing

    def test_the_sha256_depends_on_neither_order_nor_batches_nor_worker_processes(self):
        loaders = [self.shuffled(1), self.shuffled(2), three(), [[parts(n, seed)] for seed, n in enumerate(SIZES)]]
        loaders.append([loader(parts(windows, seed), num_workers=1) for seed, windows in enumerate(SIZES)])
        assert len({dataset_from_loaders(each, None).description["sha256"] for each in loaders}) == 1

    @pytest.mark.parametrize("split", [0, 1, 2])
    @pytest.mark.parametrize("field", [0, 1, 2])
    def test_any_other_number_is_another_sha256(self, split, field):
        tensors = [[tensor.clone() for tensor in parts(windows, seed)] for seed, windows in enumerate(SIZES)]
        if field == 1:  # a 3-cycle of labels keeps the counts
            tensors[split][1] = (tensors[split][1] + 1) % 3
        else:
            tensors[split][field].view(-1)[7] += 0.5
        changed = dataset_from_loaders([[tuple(each)] for each in tensors], None)
        assert changed.description["sha256"] != dataset_from_loaders(three(), None).description["sha256"]

    def test_windows_that_differ_in_their_value_alone_have_one_order_too(self):
        x, y, value = parts(12)
        x[:] = x[:1]
        y[:] = torch.arange(12) % 3
        turned = torch.roll(torch.arange(12), 3)  # classes stay in place, values of equal windows change theirs
        first = dataset_from_loaders(with_train([(x, y, value)]), None)
        other = dataset_from_loaders(with_train([(x[turned], y[turned], value[turned])]), None)
        assert torch.equal(first.train.values, other.train.values)
        assert first.description["sha256"] == other.description["sha256"]


class Items(Dataset):
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


class Counts(Sampler):
    """Promises ``length`` items or batches, and chooses ``chosen`` items."""

    def __init__(self, length: int, chosen: int, batch_size: int | None = None) -> None:
        self.length, self.chosen, self.batch_size = length, chosen, batch_size

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        every = range(self.chosen)
        if self.batch_size is None:
            return iter(every)
        return iter([every[start : start + self.batch_size] for start in range(0, self.chosen, self.batch_size)])


def drop_first(items):
    return default_collate(items[1:])


@pytest.mark.parametrize(
    ("split", "odd", "windows"),
    [
        (0, DataLoader(Items(parts(24), noise=0.1), batch_size=5), 24),
        (0, DataLoader(Items(parts(24), noise=0.1, arrays=True), batch_size=5), 24),
        (1, loader(parts(12, 1), batch_size=7, drop_last=True), 7),
        (2, loader(parts(80, 2), batch_size=16, collate_fn=drop_first), 75),
    ],
    ids=["random transform", "random arrays", "last batch dropped", "collate drops windows"],
)
def test_a_loader_that_changes_or_drops_windows_is_warned_of(split, odd, windows):
    dataset = dataset_from_loaders(with_split(split, odd), None)
    assert len((dataset.train, dataset.validation, dataset.test)[split]) == windows
    assert len(dataset.warnings) == 1
    assert NAMES[split] in dataset.warnings[0]
    assert dataset.description["warnings"] == list(dataset.warnings)


def rows(items):
    chosen = [each["row"] if isinstance(each, dict) else each for each in items]
    return tuple(tensor[chosen] for tensor in parts(24))


@pytest.mark.parametrize(
    ("train", "windows"),
    [
        (DataLoader(Items(parts(24)), batch_size=5), 24),
        (DataLoader(list(range(24)), batch_size=5, collate_fn=rows), 24),
        (DataLoader([{"row": row} for row in range(24)], batch_size=5, collate_fn=rows), 24),
        (loader(parts(80), batch_size=16), 80),
        (loader(parts(80), batch_size=32), 80),
        (loader(parts(80), batch_size=32, shuffle=True), 80),
        (loader(parts(80), batch_size=80), 80),
        (loader(parts(80), batch_size=16, sampler=SubsetRandomSampler(range(30))), 30),
        (loader(parts(80), batch_sampler=Counts(3, 48, batch_size=16), batch_size=1), 48),
        (loader(parts(24), sampler=RandomSampler(range(24))), 24),
        (loader(parts(24), sampler=WeightedRandomSampler(torch.ones(24), 24, replacement=False)), 24),
        (DataLoader([parts(10, 7), parts(12, 8)], batch_size=None), 22),
    ],
)
def test_loaders_of_all_kinds_are_read_whole_without_a_warning(train, windows):
    dataset = dataset_from_loaders(with_train(train), None)
    assert (len(dataset.train), dataset.warnings) == (windows, ())


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(TIME, FEATURES), torch.tensor(0)


class Short(list):
    def __len__(self) -> int:
        return 4


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


X, Y, VALUE = parts(12)
TEN, TWELVE = torch.zeros(12, TIME, FEATURES), torch.zeros(12, dtype=torch.int64)
INF, NAN = float("inf"), float("nan")
REPLACED = [
    loader(parts(24), sampler=RandomSampler(range(24), replacement=True, num_samples=24)),
    loader(parts(24), sampler=RandomSampler(range(24), replacement=True, num_samples=100)),
    loader(parts(24), sampler=WeightedRandomSampler(torch.ones(24), 24, replacement=True)),
    DataLoader(
        TensorDataset(*parts(24)),
        batch_sampler=BatchSampler(RandomSampler(range(24), replacement=True), batch_size=5, drop_last=False),
    ),
]
REFUSED = {  # code: (field after data_loaders, loaders) …
    "not-three-loaders": [("", []), ("", three()[:2]), ("", [*three(), three()[0]])],
    "not-a-batch": [(".train", with_train([batch])) for batch in (TEN, (TEN,), [VALUE] * 4, {"x": 1, "y": 2}, None)],
    "not-a-float-tensor": [
        *((".train.x", with_train([(torch.zeros(shape), Y, VALUE)])) for shape in [(12, 5), (12, 5, 3, 1), (12,)]),
        *((".train.x", with_train([(TEN.to(kind), Y, VALUE)])) for kind in (torch.int64, torch.bool, torch.complex64)),
        (".train.x", with_train([(X.numpy(), Y, VALUE)])),
        *((".train.y_reg", with_train([(X, Y, v)])) for v in (TWELVE, torch.zeros(12, 2), torch.zeros(11), "text")),
    ],
    "not-an-integer-tensor": [
        (".train.y_class", with_train([(X, labels, VALUE)]))
        for labels in (
            VALUE,
            VALUE.to(torch.complex64),
            TWELVE[:, None],
            torch.zeros(12, 3),
            TWELVE[:11],
            [0] * 12,
            None,
        )
    ],
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
    ],
    "one-class": [(".train.y_class", every(lambda x, y, value: (x, torch.zeros_like(y), value)))],
    "negative-class": [(".train.y_class", with_train([(X, Y - 1, VALUE)]))],
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
        *(
            (f".{NAMES[split]}", with_split(split, DataLoader(Items(parts(80, split), end=40, error=StopIteration))))
            for split in range(3)
        ),
        (".train", with_train(DataLoader(Items(parts(80), end=0, error=StopIteration), batch_size=16))),
        (".train", with_train(DataLoader(TensorDataset(*parts(80)), batch_sampler=Counts(5, 48, batch_size=16)))),
        (".train", with_train(Numbered())),
        (".train", with_train(Short([parts(12)]))),
    ],
    "batch-raises": [(".train", with_train(DataLoader(Items(parts(80), end=40, error=IndexError), batch_size=16)))],
    "windows-missing": [(".train", with_train(loader(parts(80), sampler=Counts(80, 65), batch_size=16)))],
}


@pytest.mark.parametrize(
    ("code", "field", "loaders"), [(code, *case) for code, cases in REFUSED.items() for case in cases]
)
def test_loaders_that_break_a_rule_are_refused(code, field, loaders):
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(loaders, None)
    assert (caught.value.field, caught.value.code) == (f"data_loaders{field}", code)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow  # torch waits five seconds for its worker
def test_a_dataset_that_stops_early_in_a_worker_process():
    train = DataLoader(Items(parts(80), end=40, error=StopIteration), batch_size=16, num_workers=1)
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(with_train(train), None)
    assert caught.value.code == "batches-missing"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"features": "mine:features"}, "features:"),
        ({"feature_columns": ["mood"], "features": "mine:features"}, "feature_columns, features:"),
    ],
)
def test_settings_that_loaders_do_not_use_are_refused(settings, names, tmp_path):
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path / "results", config={"data": settings}, quiet=True)
    assert names in str(caught.value)
