"""The portfolio: default first configurations from the literature, each mapped to the nearest configuration of the search space.

The portfolio costs a few trials; the sampler uses their results like those of all other trials. The portfolio helps if a
configuration of a paper is good for the data (Feurer, Springenberg & Hutter 2015, "Initializing Bayesian hyperparameter
optimization via meta-learning").

The papers use other networks, so all entries are adapted in the same way. A branch that the paper does not use is as small as the
space allows. Everything that the paper does not specify or that this package adds (regression task, penalties, smoothing) is as
weak as the space allows. Dropout is applied to the output of a complete layer. Patience, not the paper's number of epochs, ends a
training.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.models.inputs import is_own_flag
from cnn_lstm_hyperopt.search import InitialTrial, StudyPlan
from cnn_lstm_hyperopt.space.domains import Scalar, decode_sizes

Wish = float | str | tuple[Scalar, ...]
"""Wanted value of a parameter: a number, filter sizes as text (``3-5-8``), or names in order of preference."""

_MIN, _MAX = 0.0, 1e9
"""Wanted values that select the lower and the upper end of any range."""
_NO, _YES = (False, True), (True, False)

_WEAK: Mapping[str, Wish] = {
    "cnn.block": ("parallel", "fcn", "inception"),
    "cnn.num_filters": _MIN,
    "cnn.filter_sizes": "1",
    "cnn.dropout": _MIN,
    "cnn.activation": ("relu", "gelu", "swish"),
    "cnn.residual": _NO,
    "cnn.attention": _NO,
    "cnn.attention_heads": 4,
    "cnn.blocks": 3,
    "cnn.dilation_growth": 1,
    "cnn.norm": ("batch", "group", "layer"),
    "cnn.squeeze_excite": _NO,
    "cnn.downsampling": ("none", "max", "mean"),
    "cnn.summary": ("mean", "max", "mean_last", "attention"),
    "lstm.hidden_dim": _MIN,
    "lstm.num_layers": 1,
    "lstm.dropout": _MIN,
    "lstm.bidirectional": _NO,
    "lstm.attention": _NO,
    "lstm.attention_heads": 4,
    "lstm.skip_connections": _NO,
    "lstm.cell": ("lstm", "gru"),
    "lstm.input": ("window", "cnn", "transposed"),
    "lstm.summary": ("last", "mean", "max"),
    "fusion.method": ("concatenation", "gated", "attention", "bilinear"),
    "fusion.dim": _MIN,
    "fusion.dropout": _MIN,
    "fusion.attention_heads": 4,
    "highway.enabled": _YES,
    "highway.init": ("random", "linear"),
    "highway.kernel_groups": _MIN,
    "inputs.relative_ranges": _YES,
    "inputs.volume_ratios": _NO,
    "inputs.market": _NO,
    "inputs.window_norm": _NO,
    "inputs.standardise": _YES,
    "training.learning_rate": 1e-3,
    "training.batch_size": 64,
    "training.weight_decay": _MIN,
    "training.optimizer": ("adam", "adamw", "rmsprop", "sgd"),
    "training.scheduler": ("plateau", "cosine", "exponential", "step"),
    "training.gradient_clip": _MAX,
    "regularization.l1_switch": _NO,
    "regularization.l1": _MIN,
    "regularization.l2": _MIN,
    "regularization.dropout_schedule": ("constant", "linear", "cosine"),
    "regularization.label_smoothing": _MIN,
    "multi_task.balancing": ("fixed", "dynamic", "uncertainty"),
    "multi_task.classification_weight": _MAX,
    "augmentation.switch": _NO,
    "augmentation.jitter": _MIN,
    "augmentation.scaling": _MIN,
    "augmentation.time_masking": _MIN,
    "augmentation.mixup": _MIN,
}
"""Wanted values that are the same in all entries of the portfolio."""

_LSTM: Mapping[str, Wish] = {
    "lstm.hidden_dim": 25,
    "lstm.dropout": 0.16,
    "training.optimizer": ("rmsprop", "adam", "adamw", "sgd"),
}
"""Fischer & Krauss 2018, "Deep learning with long short-term memory networks for financial market predictions", EJOR 270(2):
daily returns, one LSTM layer of 25 cells, dropout 0.16, RMSprop, early stopping.

Adapted: a learning rate that falls on a plateau instead of a constant rate; Keras's default rate of 1e-3; the study's window
length instead of 240 days; dropout after the layer instead of before the layer.
"""

_CNN: Mapping[str, Wish] = {
    "cnn.num_filters": 32,
    "cnn.filter_sizes": "10-20-40",
    "cnn.residual": _YES,
}
"""Ismail Fawaz et al. 2020, "InceptionTime", arXiv 1909.04939: parallel filters of three lengths (10, 20 and 40; 32 of each),
shortcuts, ReLU, Adam with a learning rate of 1e-3 that halves on a plateau, batches of 64, no dropout.

Adapted: one block of parallel filters instead of six, without bottleneck and pooling; the filter lengths of the space, which are
odd numbers and mostly shorter; layer norm instead of batch norm; one network instead of an ensemble of five.
"""

_LSTM_FCN: Mapping[str, Wish] = {
    "cnn.num_filters": 128,
    "cnn.filter_sizes": "3-5-8",
    "lstm.hidden_dim": 64,
    "lstm.dropout": 0.8,
    "training.batch_size": 128,
}
"""Karim, Majumdar, Darabi & Chen 2017, "LSTM fully convolutional networks for time series classification", arXiv 1709.05206:
an LSTM of 8 to 128 cells with dropout 0.8, in parallel with three convolutions (128 filters of length 8, 256 filters of length 5,
128 filters of length 3), both outputs concatenated; Adam with a learning rate of 1e-3 that falls on a plateau, batches of 128.

Adapted: the three filter lengths are parallel, not sequential; the LSTM reads the window bar by bar (the paper's LSTM reads the
transposed window in one step, the "dimension shuffle"); 64 cells for all data instead of a search; dropout as high as the space
allows, up to 0.8.
"""

_SMALL: Mapping[str, Wish] = {
    "training.learning_rate": 3e-3,
    "training.batch_size": _MAX,
    "training.scheduler": ("cosine", "plateau", "exponential", "step"),
}
"""Godbole et al. 2023, "Deep Learning Tuning Playbook": begin with a simple configuration that is fast and needs few resources.
Goyal et al. 2017, arXiv 1706.02677: the learning rate grows with the batch size.

Adapted: neither of these two papers specifies a network. This entry is the smallest network of the space with the largest
batches, so that the front contains a fast model from the start. The learning rate is three times Adam's default.
"""

PORTFOLIO: Mapping[str, Mapping[str, Wish]] = {
    "lstm": {**_WEAK, **_LSTM},
    "cnn": {**_WEAK, **_CNN},
    "lstm-fcn": {**_WEAK, **_LSTM_FCN},
    "small": {**_WEAK, **_SMALL},
}
"""Portfolio entries by name, in the order in which the study tries them."""

_STACK: Mapping[str, Wish] = {
    "cnn.block": ("fcn", "inception", "parallel"),
    "lstm.input": ("transposed", "cnn", "window"),
    "training.batch_size": 16,
}
"""Wanted values of the entries that stack blocks: a small recurrent branch that reads the transposed window."""

_FCN: Mapping[str, Wish] = {
    **_STACK,
    "cnn.num_filters": 32,
    "cnn.blocks": 4,
    "cnn.dilation_growth": 2,
    "highway.kernel_groups": 4,
    "training.learning_rate": 1e-2,
    "training.optimizer": ("adamw", "adam", "rmsprop", "sgd"),
    "training.scheduler": ("cosine", "plateau", "exponential", "step"),
}
"""Wang, Yan & Oates 2017, "Time series classification from scratch with deep neural networks", arXiv 1611.06455: three blocks of
convolution, batch norm and ReLU, then the mean over time; batches of 16, Adam with a learning rate of 1e-3.

Adapted: a quarter of the paper's filters, so that the trial is cheap; filters of the space's odd lengths. The trial has a few
hundred steps instead of 2,000 epochs. So the learning rate is ten times as high and falls to 0 (cosine), and four dilated blocks
see more of the window (measured in docs/lab-notes/public-sets.md).
"""

_INCEPTION: Mapping[str, Wish] = {
    **_STACK,
    "cnn.block": ("inception", "fcn", "parallel"),
    "cnn.num_filters": 8,
    "cnn.filter_sizes": "9-19-39",
    "cnn.residual": _YES,
}
"""InceptionTime as in the entry ``cnn``, but with three of its blocks, batch norm and a quarter of its filters."""

_LSTM_FCN_WHOLE: Mapping[str, Wish] = {
    **_STACK,
    "cnn.num_filters": 128,
    "lstm.hidden_dim": 8,
    "lstm.dropout": 0.8,
    "training.batch_size": 128,
}
"""LSTM-FCN (see above) with three blocks in sequence and the dimension shuffle: the LSTM reads the transposed window."""

FULL_PORTFOLIO: Mapping[str, Mapping[str, Wish]] = {
    "fcn": {**_WEAK, **_FCN},
    "lstm": PORTFOLIO["lstm"],
    "inception": {**_WEAK, **_INCEPTION},
    "lstm-fcn": {**_WEAK, **_LSTM_FCN_WHOLE},
    "small": PORTFOLIO["small"],
}
"""Portfolio entries of the architecture ``full``, in the order in which the study tries them."""
OTHER_PORTFOLIO: Mapping[str, Mapping[str, Wish]] = {"first": _WEAK}
"""Portfolio entry of studies with other families: the first choice or the lower end of each parameter of the network."""


@dataclass(frozen=True)
class Portfolio:
    """The portfolio, with each entry mapped to a configuration of one search space.

    Attributes:
        starts: initial trials, each with the entry's name as its origin.
        same: names of entries that have the same configuration in this space as an earlier entry, with the earlier entry's name.
        beyond_limits: names of entries that are predicted to exceed a limit of the plan.
    """

    starts: tuple[InitialTrial, ...]
    same: Mapping[str, str]
    beyond_limits: tuple[str, ...]


def portfolio_in(plan: StudyPlan) -> Portfolio:
    """Return the portfolio for the search space and limits of a plan; the result does not depend on the seed."""
    searched = plan.space.searched()
    taken: dict[str, Params] = {}
    same: dict[str, str] = {}
    beyond: list[str] = []
    entries = FULL_PORTFOLIO if plan.space.architecture == "full" else PORTFOLIO
    if plan.space.families:
        entries = OTHER_PORTFOLIO
    for name, wishes in entries.items():
        params = {key: value for key, value in nearest(plan.space, wishes).items() if key in searched}
        earlier = next((other for other, its in taken.items() if its == params), None)
        if earlier is not None:
            same[name] = earlier
        elif not plan.allows(params):
            beyond.append(name)
        else:
            taken[name] = params
    return Portfolio(tuple(InitialTrial(params, name) for name, params in taken.items()), same, tuple(beyond))


def nearest(space: SearchSpace, wishes: Mapping[str, Wish]) -> dict[str, Scalar]:
    """Return the full configuration in which each parameter has the legal value nearest to its value in ``wishes``.

    All groups of the user's inputs are used.
    """
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        wish = _YES if is_own_flag(name) else wishes.get(name)
        params[name] = space.legal(name, _nearest(space.domains[name], wish), params)
    return params


def _nearest(domain: Domain, wish: Wish | None) -> Scalar:
    """Return the value of the domain that is nearest to the wanted value; of two equally near values, return the smaller value.

    The wanted value is None for parameters that belong to a type of fusion that no portfolio entry uses.
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
            # The sum of the sizes is the number of weights per channel; lists with similar sums have similar cost and reach.
            return min(domain.values, key=lambda sizes: (abs(_total(sizes) - _total(wish)), _total(sizes)))
        return min(domain.values, key=lambda value: (abs(float(value) - wish), float(value)))
    if isinstance(domain, IntRange):
        return min(max(round(float(wish)), domain.low), domain.high)
    return min(max(float(wish), domain.low), domain.high)


def _total(sizes: Scalar) -> int:
    return sum(decode_sizes(str(sizes)))
