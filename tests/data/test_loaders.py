"""The door for DataLoaders: what comes through, and one clear line for what does not."""

import re

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
    TensorDataset,
    WeightedRandomSampler,
)

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError

TIME, FEATURES = 5, 3
SIZES = (24, 12, 9)


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


def refused(loaders, line: str, input_dim: int | None = None) -> None:
    """The whole text, one line."""
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(loaders, input_dim)
    assert str(caught.value) == line


class TestWhatComesThrough:
    @pytest.mark.parametrize("horizon", [1, 5])
    def test_the_horizon_by_which_windows_overlap(self, horizon):
        dataset = dataset_from_loaders(three(), None, horizon=horizon)
        assert (dataset.horizon, dataset.description["horizon"]) == (horizon, horizon)

    def test_the_optimizer_hands_the_settings_horizon_on(self, tmp_path):
        config = {"data": {"horizon": 4}}
        optimizer = CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path, config=config, quiet=True)
        assert optimizer.dataset.horizon == 4

    @pytest.mark.parametrize("values", [True, False])
    @pytest.mark.parametrize("n_classes", [2, 3, 7])
    def test_all_windows_with_their_own_labels_and_values(self, n_classes, values):
        dataset = dataset_from_loaders(three(n_classes=n_classes, values=values), FEATURES)
        assert (dataset.n_classes, dataset.has_regression) == (n_classes, values)
        assert dataset.class_names == tuple(f"class {number}" for number in range(n_classes))
        assert dataset.value_name == ("y_reg" if values else None)
        (fold,) = dataset.folds
        assert (fold.train, fold.validation) == (dataset.train, dataset.validation)
        assert (dataset.lookback, dataset.train.input_dim) == (TIME, FEATURES)
        assert dataset.test.times_opened == 0
        for seed, windows in enumerate((dataset.train, dataset.validation, dataset.test.open())):
            x, y, *value = parts(SIZES[seed], seed, n_classes=n_classes, values=values)
            assert len(windows) == SIZES[seed]
            drained = windows.gather(torch.arange(len(windows)))
            places = [int((drained == own).all(dim=(1, 2)).nonzero().item()) for own in x]
            assert sorted(places) == list(range(len(windows)))
            assert torch.equal(windows.labels[places], y)
            assert (windows.values is None) is not values
            if values:
                assert torch.equal(windows.values[places], value[0])

    def test_validation_and_test_keep_their_order(self):
        dataset = dataset_from_loaders(three(), None)
        for seed, windows in ((1, dataset.validation), (2, dataset.test.open())):
            assert torch.equal(windows.gather(torch.arange(SIZES[seed])), parts(SIZES[seed], seed)[0])
            assert windows.dates.tolist() == list(range(SIZES[seed]))

    def test_the_scale_of_values_is_that_of_training(self):
        dataset = dataset_from_loaders(three(), None)
        values = parts(SIZES[0], 0)[2].double().numpy()
        assert dataset.value_mean == pytest.approx(values.mean())
        assert dataset.value_std == pytest.approx(values.std())
        x, y, value = parts(12)
        assert dataset_from_loaders(with_train(loader((x, y, torch.full_like(value, 3)))), None).value_std == 1.0
        without = dataset_from_loaders(three(values=False), None)
        assert (without.value_mean, without.value_std) == (0.0, 1.0)

    @pytest.mark.parametrize("share", [0.5, 1.0])
    def test_a_share_of_the_training_windows_is_for_the_search(self, share):
        dataset = dataset_from_loaders(three(), None, train_share=share)
        assert len(dataset.train) == 24
        assert len(dataset.search_train) == round(24 * share)
        assert dataset.search_train.series is dataset.train.series
        assert len(dataset.for_trials().folds[0].train) == round(24 * share)

    @pytest.mark.parametrize("number", [torch.float16, torch.float64])
    @pytest.mark.parametrize("whole", [torch.int32, torch.uint8, torch.bool])
    def test_other_precisions_become_float32_and_int64(self, number, whole):
        x, y, value = parts(12, n_classes=2)
        train = loader((x.to(number), y.to(whole), value.to(number)))
        dataset = dataset_from_loaders(with_train(train, n_classes=2), None)
        assert (dataset.train.series.dtype, dataset.train.labels.dtype) == (torch.float32, torch.int64)
        assert dataset.train.values is not None
        assert dataset.train.values.dtype == torch.float32

    def test_values_may_be_a_column_and_x_may_carry_a_graph(self):
        x, y, value = parts(12)
        train = [[x.clone().requires_grad_(), y, value.unsqueeze(1)]]  # a list of batches, each a list
        dataset = dataset_from_loaders(with_train(train), None)
        assert dataset.train.values is not None
        assert dataset.train.values.shape == (12,)
        assert not dataset.train.series.requires_grad

    def test_each_loader_is_iterated_exactly_once(self):
        class Counted(list):
            iterations = 0

            def __iter__(self):
                self.iterations += 1
                return super().__iter__()

        loaders = [Counted([parts(windows, seed)]) for seed, windows in enumerate(SIZES)]
        dataset_from_loaders(loaders, FEATURES)
        assert [each.iterations for each in loaders] == [1, 1, 1]

    def test_worker_processes_of_a_loader_are_used_as_they_are(self):
        data = [loader(parts(windows, seed), num_workers=1) for seed, windows in enumerate(SIZES)]
        first = dataset_from_loaders(data, None)
        assert first.description["sha256"] == dataset_from_loaders(three(), None).description["sha256"]

    def test_the_description_says_what_there_is(self):
        description = dataset_from_loaders(three(), None, train_share=0.5).description
        assert description["source"] == "DataLoaders"
        assert (description["lookback"], description["features"]) == (TIME, FEATURES)
        assert (description["class_names"], description["value_name"]) == (["class 0", "class 1", "class 2"], "y_reg")
        assert description["train_share"] == 0.5
        assert description["splits"] == {
            name: {"windows": 3 * each, "class_counts": [each] * 3, "class_shares": [1 / 3] * 3}
            for name, each in (("train", 8), ("validation", 4), ("test", 3))
        }
        assert description["warnings"] == []


class TestShuffling:
    def shuffled(self, seed: int, *, values: bool = True) -> list:
        return [
            loader(parts(windows, number, values=values), shuffle=True, generator=torch.Generator().manual_seed(seed))
            for number, windows in enumerate(SIZES)
        ]

    @pytest.mark.parametrize("values", [True, False])
    def test_training_windows_come_in_one_order_whatever_the_shuffling(self, values):
        first, other = (dataset_from_loaders(self.shuffled(seed, values=values), None) for seed in (1, 2))
        plain = dataset_from_loaders(three(values=values), None)
        for dataset in (other, plain):
            assert torch.equal(dataset.train.series, first.train.series)
            assert torch.equal(dataset.train.labels, first.train.labels)
            assert values is (dataset.train.values is not None)
            if values:
                assert torch.equal(dataset.train.values, first.train.values)
            assert torch.equal(dataset.search_train.starts, first.search_train.starts)

    @pytest.mark.parametrize("split", [1, 2])
    def test_shuffled_validation_and_test_windows_have_one_order(self, split):
        """Predictions of two runs are about the same windows in the same places."""

        def dataset(seed):
            loaders = three()
            loaders[split] = self.shuffled(seed)[split]
            return dataset_from_loaders(loaders, None)

        def windows(dataset):
            return dataset.validation if split == 1 else dataset.test.open()

        first, other = dataset(1), dataset(2)
        assert torch.equal(windows(first).series, windows(other).series)
        assert torch.equal(windows(first).labels, windows(other).labels)
        assert torch.equal(windows(first).values, windows(other).values)
        assert first.warnings == ()  # without dates the order means nothing

    def test_the_sha256_is_that_of_the_data_whatever_the_order_and_the_batches(self):
        shas = {dataset_from_loaders(self.shuffled(seed), None).description["sha256"] for seed in (1, 2)}
        shas.add(dataset_from_loaders(three(), None).description["sha256"])
        whole = [[parts(windows, seed)] for seed, windows in enumerate(SIZES)]
        shas.add(dataset_from_loaders(whole, None).description["sha256"])
        assert len(shas) == 1

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


class RandomTransform(Dataset):
    """Adds noise anew each time; as tensors or as arrays, which the loader makes tensors of."""

    def __init__(self, tensors: tuple[Tensor, ...], *, noise: float, arrays: bool = False) -> None:
        self.tensors, self.noise, self.arrays = tensors, noise, arrays

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int):
        x, y, value = (tensor[index] for tensor in self.tensors)
        x = x + self.noise * torch.randn(x.shape)
        return (x.numpy(), y.numpy(), value.numpy()) if self.arrays else (x, y, value)


class TestWarnings:
    @pytest.mark.parametrize("arrays", [False, True])
    def test_a_random_transform_is_warned_of(self, arrays):
        train = DataLoader(RandomTransform(parts(24), noise=0.1, arrays=arrays), batch_size=5)
        dataset = dataset_from_loaders(with_train(train), None)
        assert dataset.warnings == (
            "the train dataset gives another window for the same index each time (a random transform?); the windows are"
            " drawn once and kept for all trials",
        )
        assert dataset.description["warnings"] == list(dataset.warnings)

    def test_a_dataset_that_repeats_itself_is_not(self):
        train = DataLoader(RandomTransform(parts(24), noise=0.0), batch_size=5)
        assert dataset_from_loaders(with_train(train), None).warnings == ()

    @pytest.mark.parametrize(("split", "name"), [*enumerate(["train", "validation", "test"])])
    def test_a_dropped_last_batch_is_warned_of(self, split, name):
        loaders = three()
        loaders[split] = loader(parts(SIZES[split], split), batch_size=7, drop_last=True)
        dataset = dataset_from_loaders(loaders, None)
        assert dataset.warnings == (
            f"the {name} loader drops its last batch, so some windows are never used; set drop_last=False",
        )

    def test_items_may_be_anything_that_the_loader_can_collate(self):
        tensors = parts(24)
        for items in (list(range(24)), [{"row": row} for row in range(24)]):

            def collate(chosen):
                rows = [each["row"] if isinstance(each, dict) else each for each in chosen]
                return tuple(tensor[rows] for tensor in tensors)

            train = DataLoader(items, batch_size=5, collate_fn=collate)
            assert dataset_from_loaders(with_train(train), None).warnings == ()

    def test_plain_loaders_and_shuffling_have_no_warnings(self):
        assert dataset_from_loaders(three(), None).warnings == ()
        assert dataset_from_loaders(with_train(loader(parts(24), shuffle=True)), None).warnings == ()


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(TIME, FEATURES), torch.tensor(0)


NO_LENGTH = (
    "the train loader has no length; a search needs the same finite windows each time, so give a map-style dataset"
)
REPLACED = (
    "the train loader samples with replacement, so windows repeat and are missing; use shuffle=True or no sampler"
)


class TestRefused:
    @pytest.mark.parametrize("count", [0, 2, 4])
    def test_not_three_loaders(self, count):
        refused([*three(), *three()][:count], f"data_loaders must be (train, validation, test), but there are {count}")

    @pytest.mark.parametrize(
        "shape", [(12, TIME), (12, TIME, FEATURES, 1), (12,)], ids=["no features", "four axes", "one axis"]
    )
    def test_a_wrong_shape_of_x(self, shape):
        line = f"x in batch 0 of the train loader must be a float tensor (batch, time, features), but is torch.float32 {shape}"
        refused(with_train([(torch.zeros(shape), *parts(12)[1:])]), line)

    @pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64])
    def test_a_wrong_dtype_of_x(self, kind):
        refused(
            with_train([(torch.zeros(12, TIME, FEATURES, dtype=kind), *parts(12)[1:])]),
            "x in batch 0 of the train loader must be a float tensor (batch, time, features), but is"
            f" {kind} (12, {TIME}, {FEATURES})",
        )

    def test_x_that_is_no_tensor(self):
        refused(
            with_train([(parts(12)[0].numpy(), *parts(12)[1:])]),
            "x in batch 0 of the train loader must be a float tensor (batch, time, features), but is ndarray",
        )

    @pytest.mark.parametrize(
        ("labels", "shown"),
        [
            (torch.zeros(12), "torch.float32 (12,); give y_class.long()"),
            (torch.zeros(12, dtype=torch.complex64), "torch.complex64 (12,)"),
            (torch.zeros(12, 1, dtype=torch.int64), "torch.int64 (12, 1); give y_class.squeeze(1).long()"),
            (torch.zeros(12, 3), "torch.float32 (12, 3); of one-hot labels give y_class.argmax(dim=1)"),
            (torch.zeros(11, dtype=torch.int64), "torch.int64 (11,)"),
            ([0] * 12, "list of 12"),
            (None, "NoneType"),
        ],
    )
    def test_wrong_labels(self, labels, shown):
        x, _, value = parts(12)
        line = f"y_class in batch 0 of the train loader must be an integer tensor (12,), but is {shown}"
        refused(with_train([(x, labels, value)]), line)

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (torch.zeros(12, dtype=torch.int64), "torch.int64 (12,)"),
            (torch.zeros(12, 2), "torch.float32 (12, 2)"),
            (torch.zeros(11), "torch.float32 (11,)"),
            ("text", "str"),
        ],
    )
    def test_wrong_values(self, value, shown):
        x, y, _ = parts(12)
        line = f"y_reg in batch 0 of the train loader must be a float tensor (12,) or (12, 1), but is {shown}"
        refused(with_train([(x, y, value)]), line)

    @pytest.mark.parametrize(
        ("batch", "shown"),
        [
            (torch.zeros(12, TIME, FEATURES), f"torch.float32 (12, {TIME}, {FEATURES})"),
            ((torch.zeros(12, TIME, FEATURES),), "tuple of 1"),
            ([torch.zeros(1)] * 4, "list of 4"),
            ({"x": 1, "y": 2}, "dict of 2"),
            (None, "NoneType"),
        ],
    )
    def test_a_batch_that_is_something_else(self, batch, shown):
        line = f"batch 0 of the train loader must be (x, y_class) or (x, y_class, y_reg), but is {shown}"
        refused(with_train([batch]), line)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize(("field", "name"), [(0, "x"), (2, "y_reg")])
    def test_nan_and_infinity_with_the_batch_and_the_loader(self, field, name, value):
        tensors = parts(12, 1)
        tensors[field].view(-1)[8 if field else 8 * TIME * FEATURES] = value  # window 8 is in batch 1
        loaders = three()
        loaders[1] = loader(tensors)
        refused(
            loaders,
            f"{name} in batch 1 of the validation loader has NaN or infinite values; remove or fill these windows",
        )

    @pytest.mark.parametrize("field", [0, 2])
    def test_a_number_that_is_infinite_as_float32(self, field):
        tensors = [tensor.clone() for tensor in parts(12)]
        tensors[field] = tensors[field].double()
        tensors[field].view(-1)[3] = 1e300
        name = ("x", "y_class", "y_reg")[field]
        refused(
            with_train([tuple(tensors)]),
            f"{name} in batch 0 of the train loader has NaN or infinite values; remove or fill these windows",
        )

    @pytest.mark.parametrize(("split", "name"), [*enumerate(["train", "validation", "test"])])
    @pytest.mark.parametrize("empty", [[], [parts(0)]], ids=["no batch", "a batch of no windows"])
    def test_an_empty_loader(self, split, name, empty):
        loaders = three()
        loaders[split] = empty
        refused(loaders, f"the {name} loader is empty; give it at least one batch")

    def test_an_empty_data_loader(self):
        refused(with_train(loader(parts(3), drop_last=True)), "the train loader is empty; give it at least one batch")

    @pytest.mark.parametrize("split", [1, 2])
    def test_a_class_that_is_missing_from_training(self, split):
        loaders = three()
        loaders[split] = loader(parts(SIZES[split], split, n_classes=5))
        refused(
            loaders,
            "the train loader lacks the classes [3, 4] of 0..4; a class that is never seen can't be learnt:"
            " split anew (stratified) or number the classes without holes",
        )

    def test_classes_with_a_hole(self):
        x, y, value = parts(12)
        with pytest.raises(DataError, match=re.escape("the train loader lacks the classes [1] of 0..3")):
            dataset_from_loaders(with_train([(x, torch.tensor([0, 2, 3])[y], value)]), None)

    def test_one_class(self):
        data = [[(x, torch.zeros_like(y), value)] for x, y, value in (parts(n, s) for s, n in enumerate(SIZES))]
        refused(data, "the train loader has 1 class; at least 2 are needed to learn anything")

    def test_a_negative_class(self):
        x, y, value = parts(12)
        line = "y_class in batch 0 of the train loader must count classes from 0, but has -1"
        refused(with_train([(x, y - 1, value)]), line)

    @pytest.mark.parametrize("drawn", [24, 100])
    def test_sampling_with_replacement(self, drawn):
        tensors = parts(24)
        for sampler in (
            RandomSampler(range(24), replacement=True, num_samples=drawn),
            WeightedRandomSampler(torch.ones(24), drawn, replacement=True),
        ):
            refused(with_train(loader(tensors, sampler=sampler)), REPLACED)

    def test_sampling_with_replacement_by_a_batch_sampler(self):
        batches = BatchSampler(RandomSampler(range(24), replacement=True), batch_size=5, drop_last=False)
        refused(with_train(DataLoader(TensorDataset(*parts(24)), batch_sampler=batches)), REPLACED)

    def test_samplers_without_replacement_are_welcome(self):
        for sampler in (RandomSampler(range(24)), WeightedRandomSampler(torch.ones(24), 24, replacement=False)):
            dataset = dataset_from_loaders(with_train(loader(parts(24), sampler=sampler)), None)
            assert len(dataset.train) == 24

    def test_an_iterable_without_length(self):
        refused(with_train(DataLoader(Endless(), batch_size=5)), NO_LENGTH)
        refused(with_train(batch for batch in [parts(12)]), NO_LENGTH)
        refused(with_train(zip(*([tensor] for tensor in parts(12)), strict=True)), NO_LENGTH)

    def test_windows_of_unequal_length_in_a_loader(self):
        x, y, value = parts(12)
        refused(
            with_train([(x, y, value), (x[:, :4], y, value)]),
            "the train loader must yield windows of one shape (time, features), but yields [(4, 3), (5, 3)]",
        )

    @pytest.mark.parametrize(
        ("split", "cut", "shape"), [(1, (slice(4), slice(None)), (4, 3)), (2, (slice(None), slice(2)), (5, 2))]
    )
    def test_windows_of_unequal_shapes_between_loaders(self, split, cut, shape):
        loaders = three()
        x, y, value = parts(SIZES[split], split)
        loaders[split] = loader((x[(slice(None), *cut)], y, value))
        shapes = [(5, 3)] * 3
        shapes[split] = shape
        refused(
            loaders,
            "all three loaders must yield windows of one shape (time, features), but there are"
            f" train {shapes[0]}, validation {shapes[1]}, test {shapes[2]}",
        )

    @pytest.mark.parametrize("split", [0, 1, 2])
    def test_values_in_some_loaders_only(self, split):
        loaders = three()
        loaders[split] = loader(parts(SIZES[split], split, values=False))
        refused(loaders, "y_reg must come from all three loaders or from none")

    def test_values_in_some_batches_only(self):
        first, second = parts(12, 0), parts(12, 1, values=False)
        refused(
            with_train([first, second]),
            "the train loader yields y_reg in some batches only; yield it in all or in none",
        )

    @pytest.mark.parametrize("input_dim", [1, 4])
    def test_another_input_dim(self, input_dim):
        line = f"input_dim must be the loaders' number of features, 3, but got {input_dim}"
        refused(three(), line, input_dim)

    def test_windows_of_one_step(self):
        data = [[(x[:, :1], y, value)] for x, y, value in (parts(n, s) for s, n in enumerate(SIZES))]
        refused(data, "windows must have at least 2 time steps, but have 1")

    def test_windows_without_features(self):
        data = [[(x[:, :, :0], y, value)] for x, y, value in (parts(n, s) for s, n in enumerate(SIZES))]
        refused(data, "windows must have at least 1 feature, but have 0")


class TestSettingsThatLoadersHaveNoUseFor:
    @pytest.mark.parametrize(
        ("asked", "line"),
        [
            ({"features": "mine:features"}, "features: data_loaders come with"),
            (
                {"feature_columns": ["sentiment"], "features": "mine:features"},
                "feature_columns, features: data_loaders come with",
            ),
        ],
    )
    def test_are_refused_in_one_line(self, asked, line, tmp_path):
        with pytest.raises(ConfigError) as told:
            CNNLSTMHyperparameterOptimizer(three(), FEATURES, tmp_path / "results", config={"data": asked}, quiet=True)
        assert line in str(told.value)


class EndsEarly(Dataset):
    """Raises at an item, as a dataset does that reads a file that is shorter than it says."""

    def __init__(self, tensors: tuple[Tensor, ...], at: int, error: type[Exception]) -> None:
        self.tensors, self.at, self.error = tensors, at, error

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int):
        if index >= self.at:
            raise self.error
        return tuple(tensor[index] for tensor in self.tensors)


class Counts(torch.utils.data.Sampler):
    """Says that it chooses more than it does."""

    def __init__(self, said: int, chosen: int, batch_size: int | None = None) -> None:
        self.said, self.chosen, self.batch_size = said, chosen, batch_size

    def __len__(self) -> int:
        return self.said

    def __iter__(self):
        every = range(self.chosen)
        if self.batch_size is None:
            return iter(every)
        return iter([every[start : start + self.batch_size] for start in range(0, self.chosen, self.batch_size)])


class Sequenced:
    """Iterated by number, as Python does with what has no ``__iter__``."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int):
        if number:
            raise IndexError
        return parts(12)


EARLY = "look for a StopIteration that its dataset raises, or for a length that is too large"


class TestWindowsThatAreLost:
    @pytest.mark.parametrize(
        ("split", "name", "workers"),
        [
            (0, "train", 0),
            (1, "validation", 0),
            (2, "test", 0),
            pytest.param(0, "train", 1, marks=pytest.mark.slow),  # torch waits five seconds for its worker
        ],
    )
    def test_a_dataset_that_stops_early(self, split, name, workers):
        loaders = three()
        dataset = EndsEarly(parts(80, split), 40, StopIteration)
        loaders[split] = DataLoader(dataset, batch_size=16, num_workers=workers)
        line = f"the {name} loader must yield as many batches as its length says, 5, but ends after 2 (32 of 80 windows); {EARLY}"
        refused(loaders, line)

    def test_a_dataset_that_stops_at_its_first_item(self):
        train = DataLoader(EndsEarly(parts(80), 0, StopIteration), batch_size=16)
        refused(
            with_train(train),
            f"the train loader must yield as many batches as its length says, 5, but ends after 0 (0 of 80 windows); {EARLY}",
        )

    def test_a_dataset_that_has_fewer_items_than_its_length(self):
        train = DataLoader(EndsEarly(parts(80), 40, IndexError), batch_size=16)
        with pytest.raises(DataError, match=r"^batch 2 of the train loader can't be had: it raises IndexError"):
            dataset_from_loaders(with_train(train), None)

    def test_an_object_that_is_iterated_by_number(self):
        refused(
            with_train(Sequenced()),
            f"the train loader must yield as many batches as its length says, 3, but ends after 1 (12 windows); {EARLY}",
        )

    def test_a_loader_of_ones_own(self):
        class Short(list):
            def __len__(self) -> int:
                return 4

        refused(
            with_train(Short([parts(12)])),
            f"the train loader must yield as many batches as its length says, 4, but ends after 1 (12 windows); {EARLY}",
        )

    def test_a_batch_sampler_with_a_wrong_length(self):
        train = DataLoader(TensorDataset(*parts(80)), batch_sampler=Counts(5, 48, batch_size=16))
        refused(
            with_train(train),
            f"the train loader must yield as many batches as its length says, 5, but ends after 3 (48 windows); {EARLY}",
        )

    def test_a_sampler_whose_last_batch_is_too_small(self):
        """The number of batches is right."""
        refused(
            with_train(loader(parts(80), sampler=Counts(80, 65), batch_size=16)),
            "the train loader must yield as many windows as its sampler's length says, 80, but yields 65; correct the length of"
            " the sampler",
        )

    def test_a_collate_function_that_leaves_some_out_is_warned_of(self):
        def collate(items):
            return torch.utils.data.default_collate(items[1:])

        dataset = dataset_from_loaders(with_train(loader(parts(80), batch_size=16, collate_fn=collate)), None)
        assert len(dataset.train) == 75
        assert dataset.warnings == (
            "the train loader yields 75 windows of the 80 that its sampler chooses; its collate_fn leaves out the others",
        )

    @pytest.mark.parametrize(
        ("options", "windows"),
        [
            ({"batch_size": 16}, 80),
            ({"batch_size": 32}, 80),
            ({"batch_size": 32, "shuffle": True}, 80),
            ({"batch_size": 16, "sampler": torch.utils.data.SubsetRandomSampler(range(30))}, 30),
            ({"batch_sampler": Counts(3, 48, batch_size=16), "batch_size": 1}, 48),
            ({"batch_size": 80}, 80),
        ],
    )
    def test_whole_loaders_of_all_kinds_are_read_without_a_warning(self, options, windows):
        dataset = dataset_from_loaders(with_train(loader(parts(80), **options)), None)
        assert (len(dataset.train), dataset.warnings) == (windows, ())

    def test_a_loader_whose_items_are_batches(self):
        train = DataLoader([parts(10, 7), parts(12, 8)], batch_size=None)
        dataset = dataset_from_loaders(with_train(train), None)
        assert (len(dataset.train), dataset.warnings) == (22, ())
