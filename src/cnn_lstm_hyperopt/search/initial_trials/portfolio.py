"""A few configurations of the literature that a study begins with, each as near as the search space comes to it.

A portfolio costs a handful of trials, which the sampler learns from as from any others, and pays where a paper has already found
what suits such data (Feurer, Springenberg & Hutter 2015, "Initializing Bayesian hyperparameter optimization via meta-learning").

The networks of the papers are not those of this package. What holds for all entries: the branch that a paper does not have is as
small as the space allows; what a paper does not say, or what this package adds (the regression task, penalties, smoothing), is as
weak as the space allows; dropout follows a whole layer; patience ends a training, not the paper's number of epochs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.search import Start, StudyPlan
from cnn_lstm_hyperopt.space.domains import Scalar, decode_sizes

Wish = float | str | tuple[Scalar, ...]
"""What an entry would like of a parameter: a number; filter sizes as they are stored; or values without order, the best first."""

_LEAST, _MOST = 0.0, 1e9
"""Beyond every range: its lower and its upper end."""
_NO, _YES = (False, True), (True, False)

_WEAK: Mapping[str, Wish] = {
    "cnn.num_filters": _LEAST,
    "cnn.filter_sizes": "1",
    "cnn.dropout": _LEAST,
    "cnn.activation": ("relu", "gelu", "swish"),
    "cnn.residual": _NO,
    "cnn.attention": _NO,
    "cnn.attention_heads": 4,
    "lstm.hidden_dim": _LEAST,
    "lstm.num_layers": 1,
    "lstm.dropout": _LEAST,
    "lstm.bidirectional": _NO,
    "lstm.attention": _NO,
    "lstm.attention_heads": 4,
    "lstm.skip_connections": _NO,
    "fusion.method": ("concatenation", "gated", "attention", "bilinear"),
    "fusion.dim": _LEAST,
    "fusion.dropout": _LEAST,
    "fusion.attention_heads": 4,
    "training.learning_rate": 1e-3,
    "training.batch_size": 64,
    "training.weight_decay": _LEAST,
    "training.optimizer": ("adam", "adamw", "rmsprop", "sgd"),
    "training.scheduler": ("plateau", "cosine", "exponential", "step"),
    "training.gradient_clip": _MOST,
    "regularization.l1_switch": _NO,
    "regularization.l1": _LEAST,
    "regularization.l2": _LEAST,
    "regularization.dropout_schedule": ("constant", "linear", "cosine"),
    "regularization.label_smoothing": _LEAST,
    "multi_task.balancing": ("fixed", "dynamic", "uncertainty"),
    "multi_task.classification_weight": _MOST,
    "augmentation.switch": _NO,
    "augmentation.jitter": _LEAST,
    "augmentation.scaling": _LEAST,
    "augmentation.time_masking": _LEAST,
    "augmentation.mixup": _LEAST,
}
"""What every entry has where it says nothing else."""

_LSTM: Mapping[str, Wish] = {
    "lstm.hidden_dim": 25,
    "lstm.dropout": 0.16,
    "training.optimizer": ("rmsprop", "adam", "adamw", "sgd"),
}
"""Fischer & Krauss 2018, "Deep learning with long short-term memory networks for financial market predictions", EJOR 270(2):
daily returns, one LSTM layer of 25 cells, dropout 0.16, RMSprop, early stopping.

Adapted: their constant rate is the one that falls only on a plateau; the rate is Keras's 1e-3; windows are as long as the
study's, not 240 days; dropout follows the layer instead of standing before it.
"""

_CNN: Mapping[str, Wish] = {
    "cnn.num_filters": 32,
    "cnn.filter_sizes": "10-20-40",
    "cnn.residual": _YES,
}
"""Ismail Fawaz et al. 2020, "InceptionTime", arXiv 1909.04939: parallel filters of three lengths (10, 20 and 40; 32 of each),
shortcuts, ReLU, Adam at 1e-3 that halves on a plateau, batches of 64, no dropout.

Adapted: one block of parallel filters in place of six, without bottleneck and pooling; the space's filters, which are odd and
mostly shorter; layer norm in place of batch norm; a single network in place of an ensemble of five.
"""

_LSTM_FCN: Mapping[str, Wish] = {
    "cnn.num_filters": 128,
    "cnn.filter_sizes": "3-5-8",
    "lstm.hidden_dim": 64,
    "lstm.dropout": 0.8,
    "training.batch_size": 128,
}
"""Karim, Majumdar, Darabi & Chen 2017, "LSTM fully convolutional networks for time series classification", arXiv 1709.05206:
an LSTM of 8 to 128 cells with dropout 0.8 beside convolutions (128 filters of 8, then 256 of 5, then 128 of 3), concatenated;
Adam at 1e-3 that falls on a plateau, batches of 128.

Adapted: the three sizes of filters stand side by side, not one after the other; the LSTM reads the window bar by bar (theirs
reads its transpose, the "dimension shuffle", in one step); 64 cells for all data, where they search; dropout as high as the space
goes.
"""

_SMALL: Mapping[str, Wish] = {
    "training.learning_rate": 3e-3,
    "training.batch_size": _MOST,
    "training.scheduler": ("cosine", "plateau", "exponential", "step"),
}
"""Godbole et al. 2023, "Deep Learning Tuning Playbook": begin with a simple configuration that is fast and needs few resources.
Goyal et al. 2017, arXiv 1706.02677: with the batch grows the rate.

Adapted: neither names a network; this one is the smallest of the space, with its largest batches, so that the front has its fast
end from the beginning. The rate is three times Adam's usual one.
"""

PORTFOLIO: Mapping[str, Mapping[str, Wish]] = {
    "lstm": {**_WEAK, **_LSTM},
    "cnn": {**_WEAK, **_CNN},
    "lstm-fcn": {**_WEAK, **_LSTM_FCN},
    "small": {**_WEAK, **_SMALL},
}
"""Entries by name, in the order in which they are tried."""


@dataclass(frozen=True)
class Portfolio:
    """The portfolio in a search space.

    Attributes:
        starts: entries that are tried, each with its name as its origin.
        same: entries that the space makes the same as an earlier one, with that one's name.
        beyond_limits: entries that are predicted to exceed a limit of the plan.
    """

    starts: tuple[Start, ...]
    same: Mapping[str, str]
    beyond_limits: tuple[str, ...]


def portfolio_in(plan: StudyPlan) -> Portfolio:
    """What the search space and the limits of the plan leave of the portfolio; it does not depend on the seed."""
    searched = plan.space.searched()
    taken: dict[str, Params] = {}
    same: dict[str, str] = {}
    beyond: list[str] = []
    for name, wishes in PORTFOLIO.items():
        params = {key: value for key, value in nearest(plan.space, wishes).items() if key in searched}
        earlier = next((other for other, its in taken.items() if its == params), None)
        if earlier is not None:
            same[name] = earlier
        elif not plan.allows(params):
            beyond.append(name)
        else:
            taken[name] = params
    return Portfolio(tuple(Start(params, name) for name, params in taken.items()), same, tuple(beyond))


def nearest(space: SearchSpace, wishes: Mapping[str, Wish]) -> dict[str, Scalar]:
    """The whole configuration of the space, fixed parameters included, that is nearest to ``wishes``, parameter by parameter."""
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        params[name] = space.legal(name, _nearest(space.domains[name], wishes.get(name)), params)
    return params


def _nearest(domain: Domain, wish: Wish | None) -> Scalar:
    """The value of the domain that is nearest to what is wished; of two that are equally near, the smaller.

    None: nothing is, for the parameter is of a fusion that no entry has.
    """
    if isinstance(domain, Fixed):
        return domain.value
    if wish is None:
        return domain.values[0] if isinstance(domain, Choices) else domain.low
    if isinstance(wish, tuple):
        values = domain.values if isinstance(domain, Choices) else ()
        return next(value for value in (*wish, *values) if domain.contains(value))
    if isinstance(domain, Choices):
        if isinstance(wish, str):
            # So many weights a channel have filters of these sizes: lists that are near in this are near in cost and reach.
            return min(domain.values, key=lambda sizes: (abs(_total(sizes) - _total(wish)), _total(sizes)))
        return min(domain.values, key=lambda value: (abs(float(value) - wish), float(value)))
    if isinstance(domain, IntRange):
        return min(max(round(float(wish)), domain.low), domain.high)
    return min(max(float(wish), domain.low), domain.high)


def _total(sizes: Scalar) -> int:
    return sum(decode_sizes(str(sizes)))
