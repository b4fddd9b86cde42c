"""Which grades does the verdict give if a linear baseline captures the signal completely, or if there is no signal?

The logit of a window's class is a multiple of the mean of one feature over the last five bars, so logistic and ridge regression
are correct models. "No signal": the labels are random. The rows are stand-ins for a network, judged on the same test windows as
the baselines:

- *refit*: logistic regression, fitted on other training windows of the same number;
- *small noise*, *large noise*: the same with normal noise in the logits, as networks have (standard deviation 0.05 or 0.2);
- *overconfident*: the same as small noise, with logits multiplied by 3;
- *truth*: the true probabilities, which no fitted model has.

    python benchmarks/evaluation_verdict.py --seeds 20
"""

import argparse
from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import UNKNOWN, Dependence, Grade, Judgement, Sample, judge
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import baseline_forecasts
from cnn_lstm_hyperopt.utils.rng import stream
from machine import machine_line

Floats = NDArray[np.float64]

LOOKBACK, FEATURES, SPAN = 16, 2, 5
STRENGTH = 1.2
"""Standard deviation of the logits."""
SIZES = (4000, 1500, 1500)
"""Number of training, validation and test windows."""
SMALL, LARGE, FACTOR = 0.05, 0.2, 3.0


def true_probabilities(x: torch.Tensor, strength: float) -> Floats:
    """Probability of class 1 for windows ``(n, LOOKBACK, FEATURES)``."""
    means = x[:, -SPAN:, 0].mean(dim=1).numpy().astype(np.float64)
    return np.asarray(expit(strength * np.sqrt(SPAN) * means))


def linear_signal(seed: int, strength: float = STRENGTH) -> Dataset:
    """A dataset of the DataLoader interface; strength 0: no signal."""
    random = stream(seed, 0, "linear signal")
    parts = [TensorDataset(*_windows(n, strength, random)) for n in SIZES]
    return dataset_from_loaders([DataLoader(part, batch_size=500) for part in parts], FEATURES)


def _windows(n: int, strength: float, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(random.normal(size=(n, LOOKBACK, FEATURES)).astype(np.float32))
    return x, torch.from_numpy((random.random(n) < true_probabilities(x, strength)).astype(np.int64))


def judged(seed: int, strength: float) -> dict[str, Judgement]:
    """The judgement of each stand-in for a network."""
    dataset, random = linear_signal(seed, strength), stream(seed, 1, "linear signal")
    test = dataset.test.open()
    forecasts = baseline_forecasts(dataset, (dataset.train, dataset.validation, test), seed=seed)
    others = [_sample(*_windows(n, strength, random)) for n in SIZES[:2]]
    refit, own = LogisticBaseline(), _sample(test.gather(torch.arange(len(test))), test.labels)
    refit.fit(*others, n_classes=2, seed=seed)
    logits = logit(np.clip(refit.probabilities(own)[:, 1], 1e-6, 1 - 1e-6))
    small, large = (logits + noise * random.normal(size=len(logits)) for noise in (SMALL, LARGE))
    models = {
        "refit": expit(logits),
        "small noise": expit(small),
        "large noise": expit(large),
        "overconfident": expit(FACTOR * small),
        "truth": true_probabilities(torch.from_numpy(own.inputs), strength),
    }
    dependence, labels = Dependence.of(test, horizon=1), own.labels
    return {
        name: judge("log_loss", labels, np.stack([1 - up, up], axis=1), forecasts.probabilities, dependence)
        for name, up in models.items()
    }


def _sample(x: torch.Tensor, labels: torch.Tensor) -> Sample:
    return Sample(x.numpy(), labels.numpy(), np.full(len(x), UNKNOWN))


def main() -> None:
    """Print a table for a linear signal and a table without a signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    for title, strength in (("a linear signal", STRENGTH), ("no signal", 0.0)):
        found: dict[str, list[Judgement]] = {}
        for seed in range(options.seeds):
            for name, each in judged(seed, strength).items():
                found.setdefault(name, []).append(each)
        print(f"\n| {title} | {' | '.join(Grade)} | gain over the best baseline (mean, lowest, highest) |")
        print("|---|" + "---|" * (len(Grade) + 1))
        for name, judgements in found.items():
            counts = Counter(each.grade for each in judgements)
            gains = [each.against_best.difference or 0.0 for each in judgements]
            spread = f"{np.mean(gains):+.4f}, {min(gains):+.4f}, {max(gains):+.4f}"
            print(f"| {name} | {' | '.join(str(counts[grade]) for grade in Grade)} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
