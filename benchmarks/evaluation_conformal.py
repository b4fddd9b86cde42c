"""How often do conformal sets and intervals for 90 % contain the truth on real bars?

The model is the baseline ridge regression on an embedded symbol, with the target volatility. Sets and intervals are
calibrated on the validation windows. The table shows the coverage on the later test windows, with its 95 % interval, and the
coverage if the windows of validation and test are exchanged at random (200 times), as the theory assumes.

    python benchmarks/evaluation_conformal.py
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence
from cnn_lstm_hyperopt.evaluation.baselines.ridge import RidgeRegression
from cnn_lstm_hyperopt.inference.conformal import calibrate
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import _Samples
from cnn_lstm_hyperopt.pipeline.conformal_coverage import Coverage, conformal_test
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.utils.rng import stream

EXCHANGES = 200


def forecasts(dataset: Dataset, test: Windows) -> Predictions:
    """Return the predictions of ridge regression for the validation windows and then the test windows."""
    splits = (dataset.train, dataset.validation, test)
    samples = _Samples(dataset, splits)
    parts = [samples.of(place, np.arange(len(each))) for place, each in enumerate(splits)]
    model = RidgeRegression()
    model.fit(parts[0], parts[1], n_classes=dataset.n_classes, seed=0)
    values = [model.values(each) for each in parts[1:]]
    return Predictions(
        np.concatenate([model.probabilities(each) for each in parts[1:]]).astype(np.float32),
        np.concatenate([each for each in values if each is not None]).astype(np.float32),
    )


def some(predictions: Predictions, chosen: NDArray[np.int64]) -> Predictions:
    """Return the predictions of some windows."""
    return Predictions(
        predictions.probabilities[chosen], None if predictions.values is None else predictions.values[chosen]
    )


def row(symbol: str) -> str:
    """Return the row of a symbol."""
    data = {"source": "embedded", "symbols": [symbol], "target": "volatility"}
    dataset = prepare_dataset(load_settings({"data": data}, {}).data)
    test = dataset.test.open()
    known, count = forecasts(dataset, test), len(dataset.validation)
    labels = np.concatenate([dataset.validation.labels.numpy(), test.labels.numpy()])
    targets = np.concatenate([each.values.numpy() for each in (dataset.validation, test) if each.values is not None])

    conformal = calibrate(labels[:count], some(known, np.arange(count)), targets[:count])
    later = some(known, np.arange(count, len(labels)))
    found = conformal_test(conformal, later, test, Dependence.of(test, horizon=dataset.horizon))
    if found is None or found.values is None:
        raise RuntimeError("the split has windows and values")
    exchanged = []
    for number in range(EXCHANGES):
        order = stream(0, number, "exchanged windows").permutation(len(labels))
        first, rest = order[:count], order[count:]
        conformal = calibrate(labels[first], some(known, first), targets[first])
        ends = None if conformal is None else conformal.intervals(some(known, rest).values)
        if conformal is None or ends is None:
            raise RuntimeError("the split has windows and values")
        sets = conformal.sets(known.probabilities[rest])[np.arange(len(rest)), labels[rest]]
        exchanged.append((sets.mean(), ((ends[0] <= targets[rest]) & (targets[rest] <= ends[1])).mean()))
    mean = np.mean(exchanged, axis=0)
    cells = [shown(found.classes), f"{found.classes.size:.2f}", f"{mean[0]:.1%}", shown(found.values), f"{mean[1]:.1%}"]
    return f"| {symbol} | {count:,} / {len(test):,} | {' | '.join(cells)} |"


def shown(coverage: Coverage | None) -> str:
    """Return a coverage with its interval."""
    if coverage is None or coverage.interval is None:
        return "–"
    return f"{coverage.share:.1%} ({coverage.interval.low:.1%} to {coverage.interval.high:.1%})"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", nargs="+", default=["AAPL", "AMZN", "GOOGL", "IBM", "MSFT", "NVDA"])
    options = parser.parse_args()
    print(
        "| symbol | validation / test windows | sets hold the class | classes | exchanged "
        "| intervals hold the value | exchanged |"
    )
    print("|---|---|---|---|---|---|---|")
    for symbol in options.symbols:
        print(row(symbol), flush=True)


if __name__ == "__main__":
    main()
