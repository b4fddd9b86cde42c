"""Training and validation windows as one training set."""

from datetime import date

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.pooled import pooled_loaders
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.window_table import frame_windows

SPAN = (date(2006, 1, 3), date(2008, 12, 31))


def test_the_scaler_has_the_statistics_of_the_rows_of_both_splits():
    names = ("AAPL", "IBM")
    asked = DataSettings(
        source="embedded", symbols=names, target="volatility", lookback=10, horizon=3, start=SPAN[0], end=SPAN[1]
    )
    dataset = prepare_dataset(asked, pooled=True)
    found = dataset.pooled
    both = (dataset.train, dataset.validation)
    keys = [set(zip(each.symbols, each.dates, strict=True)) for each in (*both, found.windows)]
    assert (keys[0] | keys[1], len(found.windows)) == (keys[2], len(keys[0]) + len(keys[1]))
    rows, inputs = [], {}
    for bars in EmbeddedSource().load(names, *SPAN)[0]:
        features, ends, dates = frame_windows(bars.frame, 10, asked.max_gap_days)
        used = [end for end, day in zip(ends, dates, strict=True) if (bars.symbol, day) in keys[2]]
        rows.append(features[np.unique(np.concatenate([np.arange(end - 9, end + 1) for end in used]))])
        inputs |= {(bars.symbol, day): features[end - 9 : end + 1] for end, day in zip(ends, dates, strict=True)}
    covered = np.concatenate(rows)
    mean, std = covered.mean(axis=0), covered.std(axis=0)
    np.testing.assert_allclose(found.scaler.mean, mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.scaler.std, std, rtol=1e-9)
    values = torch.cat([each.values for each in both]).double().numpy()
    assert (found.value_mean, found.value_std) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    some = torch.arange(0, len(found.windows), 37)
    expected = [inputs[key] for key in zip(found.windows.symbols[some], found.windows.dates[some.numpy()], strict=True)]
    scaled = np.clip((np.array(expected) - mean) / std, -10, 10)
    np.testing.assert_allclose(found.windows.gather(some).numpy(), scaled, rtol=1e-4, atol=1e-4)
    assert prepare_dataset(asked).pooled is None


@pytest.mark.parametrize("values", [True, False])
def test_windows_of_loaders_are_joined_without_scaling(values):
    def loader(count, seed):
        rng = torch.Generator().manual_seed(seed)
        x, y = torch.randn(count, 5, 3, generator=rng), torch.arange(count) % 2
        return DataLoader(TensorDataset(*((x, y, x[:, -1, 0]) if values else (x, y))), batch_size=8)

    dataset = dataset_from_loaders([loader(40, 1), loader(20, 2), loader(10, 3)], 3)
    found = pooled_loaders(dataset.train, dataset.validation)
    every = [each.gather(torch.arange(len(each))) for each in (dataset.train, dataset.validation)]
    assert torch.equal(found.windows.gather(torch.arange(60)), torch.cat(every))
    assert torch.equal(found.windows.labels, torch.cat([dataset.train.labels, dataset.validation.labels]))
    assert (found.scaler, found.windows.values is None) == (None, not values)
    last = torch.cat(every)[:, -1, 0].double().numpy()
    expected = (last.mean(), last.std()) if values else (0.0, 1.0)
    assert (found.value_mean, found.value_std) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
