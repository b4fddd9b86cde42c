"""How true the surrogate of a recorded problem is: what it predicts of configurations that it has not seen.

    python benchmarks/surrogate.py --problem volatility

Ten folds; a configuration and its repetition lie in one fold. For accuracy after some of the epochs and for ln seconds: R² and
Spearman's rank correlation, beside other models of the same inputs. *Repeated* is what a second training of the same
configuration says of the first: no model can do much better.
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from machine import machine_line
from problems.surrogate import RECORDED, Array, Forest, Surrogate

EPOCHS = (1, 2, 4, 8, 16)
FOLDS = 10

Model = Callable[[Array, Array, Array], Array]
"""(rows, targets, rows asked for) → targets."""


def _trees(rows: Array, targets: Array, asked: Array) -> Array:
    forest = Forest(rows, targets, seed=0)
    return np.array([forest.predict(row) for row in asked])


def _nearest(rows: Array, targets: Array, asked: Array) -> Array:
    model = make_pipeline(StandardScaler(), KNeighborsRegressor(5, weights="distance"))
    return np.asarray(model.fit(rows, targets).predict(asked))


def _boosting(rows: Array, targets: Array, asked: Array) -> Array:
    model = MultiOutputRegressor(HistGradientBoostingRegressor(max_iter=200, learning_rate=0.05, random_state=0))
    return np.asarray(model.fit(rows, targets).predict(asked))


def _process(rows: Array, targets: Array, asked: Array) -> Array:
    kernel = ConstantKernel(1.0) * Matern(length_scale=5.0, nu=2.5) + WhiteKernel(0.1)
    model = make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a kernel at its bounds is judged like the others
        return np.asarray(model.fit(rows, targets).predict(asked))


MODELS: Mapping[str, Model] = {
    "trees (what is served)": _trees,
    "5 nearest": _nearest,
    "gradient boosting": _boosting,
    "Gaussian process": _process,
}


def groups(surrogate: Surrogate) -> Array:
    """The same number for a configuration and its repetition, ``(rows,)``."""
    found = np.arange(len(surrogate.recorded.params))
    for first, second in surrogate.recorded.again:
        found[second] = found[first]
    return found


def predicted(surrogate: Surrogate, targets: Array, model: Model) -> Array:
    """Of each row by a model that was fitted without its fold."""
    found = np.full_like(targets, np.nan)
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=0).split(surrogate.rows, groups=groups(surrogate)):
        found[test] = model(surrogate.rows[train], targets[train], surrogate.rows[test]).reshape(len(test), -1)
    return found


def _cell(true: Array, said: Array) -> str:
    return f"{r2_score(true, said):.2f}, {spearmanr(true, said).statistic:.2f}"


def table(surrogate: Surrogate) -> Iterator[str]:
    """Lines of Markdown: R², rank correlation."""
    recorded = surrogate.recorded
    places = [int(np.flatnonzero(surrogate.epochs == epoch)[0]) for epoch in EPOCHS]
    accuracy = recorded.accuracy[:, places]
    slowness = surrogate.slowness(recorded.seconds)[:, None]
    seconds = np.log(recorded.seconds[:, -1])
    base = seconds - slowness[:, 0]
    yield f"| R², rank correlation | {' | '.join(f'accuracy, epoch {epoch}' for epoch in EPOCHS)} | ln seconds |"
    yield "|---" * (len(EPOCHS) + 2) + "|"
    for name, model in MODELS.items():
        said = predicted(surrogate, accuracy, model)
        cells = [_cell(accuracy[:, i], said[:, i]) for i in range(len(EPOCHS))]
        cells.append(_cell(seconds, base + predicted(surrogate, slowness, model)[:, 0]))
        yield f"| {name} | {' | '.join(cells)} |"
    yield f"| the cost model alone | {'– | ' * len(EPOCHS)}{_cell(seconds, base)} |"
    first, second = (np.array(rows) for rows in zip(*recorded.again, strict=True))
    # In both directions, so that R² is that of a line of slope 1.
    left, right = np.concatenate([first, second]), np.concatenate([second, first])
    cells = [_cell(accuracy[left, i], accuracy[right, i]) for i in range(len(EPOCHS))]
    yield f"| repeated | {' | '.join(cells)} | {_cell(seconds[left], seconds[right])} |"


def summary(surrogate: Surrogate) -> Iterator[str]:
    """What is recorded, in lines."""
    final, seconds = surrogate.recorded.accuracy[:, -1], surrogate.recorded.seconds[:, -1]
    first, second = (np.array(rows) for rows in zip(*surrogate.recorded.again, strict=True))
    noise = float(np.std(final[first] - final[second]) / math.sqrt(2))
    yield (
        f"{len(final)} whole trainings, {len(first)} of them repetitions; accuracy {final.min():.3f} to {final.max():.3f}"
        f" (chance {surrogate.chance:.3f}), of which repetitions differ by a standard deviation of {noise:.4f}; seconds"
        f" {seconds.min():.2f} to {seconds.max():.1f}, median {np.median(seconds):.1f}."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", required=True)
    parser.add_argument("--folder", type=Path, default=RECORDED, help="--out of benchmarks/record.py")
    given = parser.parse_args(arguments)
    if not (given.folder / f"{given.problem}.json").is_file():
        parser.error(f"{given.folder} holds no {given.problem}.json; record it with benchmarks/record.py")
    surrogate = Surrogate(given.problem, given.folder)
    print(machine_line(), "", *summary(surrogate), "", sep="\n")
    for line in table(surrogate):
        print(line, flush=True)


if __name__ == "__main__":
    main()
