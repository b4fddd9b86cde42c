"""Check of a user's families of networks on the shape of a study's data, before the first trial."""

from collections.abc import Iterator

from cnn_lstm_hyperopt.config import Choices, Fixed, Params, SearchSpace, Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.models import family_of, network_config
from cnn_lstm_hyperopt.models.inputs import InputsConfig
from cnn_lstm_hyperopt.models.own.family import OwnConfig, OwnFamily
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.space.domains import Domain, Scalar

CHECKED_CONFIGURATIONS = 8
"""Number of random configurations in the check, beside the one with the lowest values."""


def check_own_families(settings: Settings, dataset: Dataset) -> None:
    """Build a few networks of each of the user's families, and check their outputs for windows of the data's shape.

    Raises:
        ConfigError: a network violates a rule; see :func:`.check_network`.
    """
    space = settings.search_space
    if not any(":" in name for name in space.families):
        return
    from cnn_lstm_hyperopt.models.own.network import check_network

    data = dataset.for_trials()
    windows = data.folds[0].train
    for params in _configurations(space):
        family = family_of(params)
        if not isinstance(family, OwnFamily):
            continue
        config = network_config(
            params,
            input_dim=windows.input_dim,
            n_classes=data.n_classes,
            has_regression=data.has_regression,
            lookback=windows.lookback,
            columns=data.columns,
        )
        network = config.network if isinstance(config, InputsConfig) else config
        if isinstance(network, OwnConfig):
            check_network(family.recipe(network))


def _configurations(space: SearchSpace) -> Iterator[Params]:
    """Yield the configuration with the first choice or the lower end of each parameter, then random configurations."""
    lowest: dict[str, Scalar] = {}
    for name in space.active(lowest):
        domain = space.domains[name]
        lowest[name] = space.legal(name, _lowest(domain), lowest)
    yield lowest
    for number in range(CHECKED_CONFIGURATIONS):
        yield random_configuration(space, 0, number)


def _lowest(domain: Domain) -> Scalar:
    if isinstance(domain, Fixed):
        return domain.value
    return domain.values[0] if isinstance(domain, Choices) else domain.low
