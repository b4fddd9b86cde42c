"""How often does a trial without skill exceed the skill threshold, and how often a trial with a little skill?

Labels and predictions come from two independent normal processes with the same structure: a part that all symbols of a date
share, and a part of each symbol, both with the autocorrelation of the row. Copies are one symbol under several names. The
predictions of a trial with skill are correlated with the process of the labels. "Before" is the threshold that takes dates and
symbols as independent; 2.3 % of trials without skill should pass.

`--real` takes the embedded bars instead. Each stretch of 480 dates is a validation set. Ridge on means of the features is
fitted to the labels of all other dates, rotated in time by a random number of dates, and scored on validation labels rotated by
another number. The trial with skill is fitted to the true labels and scored on the true labels.

    python benchmarks/evaluation_skill.py --runs 2000
    python benchmarks/evaluation_skill.py --real --runs 40
"""

import argparse
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import dates_effect
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.utils.rng import stream

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
BURN_IN = 300
SYMBOLS = ["AAPL", "IBM", "MSFT", "NVDA", "AMZN"]


class Setting(NamedTuple):
    """A simulated validation set.

    Attributes:
        name: of the row.
        days, bars, symbols: number of days, of bars a day and of symbols.
        shared: share of a process's variance that all symbols of a date have in common.
        slow, own_slow: autocorrelation between bars, of the shared part and of each symbol's part; None: the same.
        daily: share of the variance that all bars of a day have in common.
        horizon: labels are sums over so many bars.
        knowledge: correlation of a skilled trial's process with the process of the labels.
    """

    name: str
    days: int = 480
    bars: int = 1
    symbols: int = 1
    shared: float = 1.0
    slow: float = 0.0
    daily: float = 0.0
    horizon: int = 1
    knowledge: float = 0.2
    own_slow: float | None = None


SETTINGS = (
    Setting("one symbol"),
    Setting("5 copies", symbols=5),
    Setting("10 copies", symbols=10),
    Setting("5 symbols, daily", symbols=5, shared=0.5),
    Setting("5 symbols, daily, AR 0.9", symbols=5, shared=0.5, slow=0.9, knowledge=0.3),
    Setting("5 symbols, 120 days, AR 0.9", days=120, symbols=5, shared=0.5, slow=0.9, knowledge=0.4),
    Setting("5 symbols, AR 0.9 shared, noise", symbols=5, shared=0.5, slow=0.9, own_slow=0.0, knowledge=0.3),
    Setting("5 symbols, horizon 5", symbols=5, shared=0.5, horizon=5, knowledge=0.3),
    Setting("one symbol, horizon 20", days=1000, horizon=20, knowledge=0.4),
    Setting("5 symbols, 78 bars a day", days=60, bars=78, symbols=5, shared=0.5, knowledge=0.1),
    Setting("5 symbols, 78 bars, days alike", days=60, bars=78, symbols=5, shared=0.5, daily=0.3, knowledge=0.2),
    Setting("one symbol, 390 bars, AR 0.99", days=60, bars=390, slow=0.99, knowledge=0.3),
)


class Real(NamedTuple):
    """Labels of the embedded bars."""

    name: str
    target: str
    horizon: int
    symbols: int


REAL = (
    Real("direction, 5 symbols", "direction", 1, 5),
    Real("volatility, 5 symbols", "volatility", 1, 5),
    Real("volatility, one symbol", "volatility", 1, 1),
    Real("volatility, 5 symbols, horizon 5", "volatility", 5, 5),
    Real("direction, 5 symbols, horizon 20", "direction", 20, 5),
)


def process(setting: Setting, random: np.random.Generator) -> Floats:
    """A process with variance 1, ``(dates, symbols)``."""
    n = setting.days * setting.bars

    def part(width: int, slow: float) -> Floats:
        noise = random.normal(size=(n + BURN_IN, width))
        series = lfilter([np.sqrt(1 - slow**2)], [1, -slow], noise, axis=0)
        sums = np.cumsum(series, axis=0)
        summed = series if setting.horizon == 1 else (sums[setting.horizon :] - sums[: -setting.horizon])
        day = np.repeat(random.normal(size=(setting.days, width)), setting.bars, axis=0)
        return np.sqrt(1 - setting.daily) * summed[-n:] / np.sqrt(setting.horizon) + np.sqrt(setting.daily) * day

    if setting.shared == 1:
        return np.repeat(part(1, setting.slow), setting.symbols, axis=1)
    own = part(setting.symbols, setting.slow if setting.own_slow is None else setting.own_slow)
    return np.sqrt(setting.shared) * part(1, setting.slow) + np.sqrt(1 - setting.shared) * own


def dates_of(setting: Setting) -> NDArray[np.datetime64]:
    """Date of each row of a process."""
    days = np.datetime64("2020-01-01", "ns") + np.arange(setting.days) * np.timedelta64(1, "D")
    minutes = 390 // setting.bars * np.arange(setting.bars)
    times = days[:, None] + (570 + minutes).astype("timedelta64[m]")
    return (days if setting.bars == 1 else times.ravel()).astype("datetime64[ns]")


def passes(metric: str, labels: Labels, logits: Floats, skill: SkillThreshold, *, tuned: bool) -> bool:
    """Whether predictions pass; ``tuned``: logits with the spread at which noise passes a log loss most often."""
    n = skill.n_effective / skill.dependence
    spread = 4 / np.sqrt(n) if tuned and metric == "log_loss" else 1.0
    shares = np.bincount(labels) / len(labels)
    ones = expit(np.log(shares[1] / shares[0]) + spread * logits)
    return skill.passes(score(metric, labels, np.column_stack([1 - ones, ones])))


def simulated(setting: Setting, run: int, seed: int) -> Iterator[tuple[str, float, list[bool]]]:
    """For each metric: the dependence, and whether passes: chance before, chance, skill before, skill."""
    random = stream(seed, run, setting.name)
    truth, said = process(setting, random), process(setting, random)
    labels = (truth > 0).astype(np.int64).ravel()
    dates = np.repeat(dates_of(setting), setting.symbols)
    effects = [dates_effect(labels, dates, horizon=setting.horizon, slow=slow) for slow in (True, False)]
    known = setting.knowledge * truth + np.sqrt(1 - setting.knowledge**2) * said
    skilled = 1.7 * setting.knowledge * known.ravel()  # about calibrated
    for metric, its in METRICS.items():
        effect = effects[its.chance_varies]
        both = [SkillThreshold.on(metric, [labels], overlap=setting.horizon, dependence=each) for each in (1.0, effect)]
        chance = [passes(metric, labels, said.ravel(), each, tuned=True) for each in both]
        yield metric, effect, chance + [passes(metric, labels, skilled, each, tuned=False) for each in both]


def summaries(windows: Windows) -> Floats:
    """Last values and means over 5, 20 and all bars of each feature, ``(windows, 4 × features)``."""
    x = windows.gather(torch.arange(len(windows))).numpy()
    return np.concatenate([x[:, -1], x[:, -5:].mean(axis=1), x[:, -20:].mean(axis=1), x.mean(axis=1)], axis=1)


def real(chosen: Real, runs: int, seed: int) -> Iterator[tuple[str, float, list[bool]]]:
    """As :func:`simulated`, on the embedded bars: each stretch of 480 dates validates models of all other dates."""
    symbols = SYMBOLS[: chosen.symbols]
    data = {"source": "embedded", "symbols": symbols, "target": chosen.target, "horizon": chosen.horizon}
    dataset = prepare_dataset(load_settings({"data": data}, {}).data)
    parts = dataset.train, dataset.validation
    x = np.concatenate([summaries(part) for part in parts])
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
    labels = np.concatenate([part.labels.numpy() for part in parts])
    dates = np.concatenate([part.dates for part in parts])
    days, day = np.unique(dates, return_inverse=True)
    symbol = np.unique(np.concatenate([part.symbols for part in parts]), return_inverse=True)[1]
    known = np.full((len(days), symbol.max() + 1), -1, dtype=np.int64)
    known[day, symbol] = labels
    for first in range(0, len(days) - 480, 480):
        held = (day >= first) & (day < first + 480)
        ridge = np.linalg.solve(x[~held].T @ x[~held] + 100 * np.eye(x.shape[1]), x[~held].T)

        def fitted(known: Labels, held: NDArray[np.bool_] = held, ridge: Floats = ridge) -> Floats:
            y = known[day[~held], symbol[~held]]
            return x[held] @ (ridge @ np.where(y < 0, 0.0, y - y[y >= 0].mean()))

        true, theirs = 4 * fitted(known), labels[held]
        effects = [dates_effect(theirs, dates[held], horizon=chosen.horizon, slow=slow) for slow in (True, False)]
        for run in range(runs):
            random = stream(seed, first + run, chosen.name)
            logits = fitted(np.roll(known, random.integers(60, len(days) - 60), axis=0))
            said, y = logits / logits.std(), np.roll(known[first : first + 480], random.integers(60, 420), axis=0)
            y = y[day[held] - first, symbol[held]]
            rotated = y[y >= 0], dates[held][y >= 0]
            now = [dates_effect(*rotated, horizon=chosen.horizon, slow=slow) for slow in (True, False)]
            for metric, its in METRICS.items():
                found, effect = [], effects[its.chance_varies]
                for own, logit, factor in ((rotated[0], said[y >= 0], now[its.chance_varies]), (theirs, true, effect)):
                    for dependence in (1.0, factor):
                        skill = SkillThreshold.on(metric, [own], overlap=chosen.horizon, dependence=dependence)
                        found.append(passes(metric, own, logit, skill, tuned=logit is not true))
                yield metric, effect, found


def table(name: str, rows: Iterator[tuple[str, float, list[bool]]]) -> None:
    """Print one row for each metric."""
    found: dict[str, list[list[bool]]] = {metric: [] for metric in METRICS}
    effects: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for metric, effect, passed in rows:
        effects[metric].append(effect)
        found[metric].append(passed)
    for metric, passed in found.items():
        shares = " | ".join(f"{100 * share:.1f} %" for share in np.mean(passed, axis=0))
        print(f"| {name} | {metric} | {np.median(effects[metric]):.2f} | {shares} |", flush=True)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="trials without skill for each row, or for each stretch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="embedded bars with rotated labels")
    asked = parser.parse_args()
    print("| validation set | metric | dependence | chance, before | chance | skill, before | skill |")
    print("|---|---|---|---|---|---|---|")
    if asked.real:
        for chosen in REAL:
            table(chosen.name, real(chosen, asked.runs, asked.seed))
    else:
        for setting in SETTINGS:
            rows = (row for run in range(asked.runs) for row in simulated(setting, run, asked.seed))
            table(setting.name, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
