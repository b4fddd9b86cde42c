"""One thread for all tests of the pipeline, so that trainings repeat to the bit, and short preparations of studies."""

from collections.abc import Iterator

import pytest
import torch

from cnn_lstm_hyperopt.evaluation import BASELINES


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)  # before what a module makes once
def _short_preparations() -> Iterator[None]:
    """A forecast of few configurations and a baseline of few trees, which every new study needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 60)
        patch.setattr(BASELINES["gradient boosting"], "MAX_TREES", 5)
        yield
