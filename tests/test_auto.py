"""Where nobody names a sampler or a pruner: which pair it is, and that the first line of a run says so."""

from typing import Any

import pytest

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.samplers import SAMPLERS


@pytest.mark.parametrize(
    ("named", "line"),
    [
        (
            {},
            "sampler gp, pruner front (sampler and pruner auto: docs/explanation/search-and-pruning.md has the table)",
        ),
        pytest.param(
            {"pruner": {"type": "median"}},
            "sampler gp, pruner median (sampler auto: docs/explanation/search-and-pruning.md has the table)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"sampler": {"type": "tpe"}, "pruner": {"type": "none"}},
            "sampler tpe, pruner none, seed",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_first_line_says_what_auto_has_chosen(
    tiny: dict[str, Any], capsys: pytest.CaptureFixture[str], named: dict[str, Any], line: str
) -> None:
    config = {**{name: value for name, value in tiny.items() if name not in ("sampler", "pruner")}, **named}
    with CNNLSTMHyperparameterOptimizer(config={**config, "study": {"n_trials": 1}}, verbose=True) as optimizer:
        optimizer.optimize()
    said = " ".join(capsys.readouterr().out.split())
    assert f"0 of 1 trials done, {line}" in said


def test_auto_is_no_name_of_its_own() -> None:
    assert "auto" not in {*SAMPLERS, *PRUNERS}
