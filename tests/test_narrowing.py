"""Start broad, then narrow: the region of the good trials."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, load_settings
from cnn_lstm_hyperopt.config import PARAMETERS, Fixed, parse_space
from cnn_lstm_hyperopt.exceptions import RunError
from cnn_lstm_hyperopt.narrowing import MIN_GOOD, good_trials, narrow_study, narrowed
from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search import SkillGate, State, TrialRecord, Values
from cnn_lstm_hyperopt.search.samplers import random_configuration

SPACE = parse_space(None)[0]
GATE = SkillGate(0.5, 10_000)


def records(n: int, seed: int) -> list[TrialRecord]:
    """Completed trials of random configurations with random values, all above the gate."""
    rng = np.random.default_rng(seed)
    return [
        TrialRecord(
            number=number,
            state=State.COMPLETE,
            params=random_configuration(SPACE, seed, number),
            values=Values(*rng.uniform([0.6, 1, 1], [0.9, 100, 10])),
            size_mb=1.0,
            curve=(),
            seconds=1.0,
            projected_seconds=None,
            reason="",
            retry_of=None,
            attributes={},
        )
        for number in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_narrowed_space_holds_every_good_trial_and_nothing_beyond_the_old_one(seed: int) -> None:
    good = good_trials(records(60, seed), GATE)
    space = narrowed(SPACE, good)
    for record in good:
        for name, value in record.params.items():
            assert space.domains[name].contains(value), (name, value)
    for name, domain in space.domains.items():
        old = SPACE.domains[name]
        ends = getattr(domain, "values", None) or (
            [domain.value] if isinstance(domain, Fixed) else [domain.low, domain.high]  # type: ignore[union-attr]
        )
        assert all(old.contains(end) for end in ends), name
        if PARAMETERS[name].divides is not None:
            assert domain == old
    assert parse_space(space.as_dict()) == (space, [])


@pytest.mark.parametrize("seed", range(5))
def test_good_trials_are_whole_fronts_from_the_best_on(seed: int) -> None:
    all_records = records(60, seed)
    good = good_trials(all_records, GATE)
    chosen = {record.number for record in good}
    assert len(good) >= max(MIN_GOOD, 12)

    def losses(record: TrialRecord) -> tuple[float, float, float]:
        assert record.values is not None
        return (-record.values.score, record.values.seconds, record.values.size_mb)

    for record in all_records:
        if record.number not in chosen:
            assert any(dominates(losses(other), losses(record)) for other in good)


def test_too_few_skilled_trials_say_how_many_are_needed() -> None:
    with pytest.raises(RunError, match="7 trials have learnt more than the majority class, but 8 are needed"):
        good_trials(records(7, 0), GATE)


def test_the_gate_of_another_metric_says_in_its_words_what_was_not_beaten() -> None:
    gate = SkillGate.on("mcc", [np.arange(1000) % 2])
    assert len(good_trials(records(60, 0), gate)) >= MIN_GOOD  # above 0.06 all of them
    with pytest.raises(RunError, match="7 trials have learnt more than the best constant prediction, but 8"):
        good_trials(records(7, 0), gate)


@pytest.mark.slow
def test_a_study_is_narrowed_to_a_file_that_can_be_run(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["study"] = {**tiny["study"], "time_objective": "estimated"}  # the same trials on a busy machine
    tiny["pruner"] = {"type": "none"}
    tiny["training"] = {"max_epochs": 6}
    tiny["data"] = {"source": "synthetic", "symbols": ["SYN1", "SYN2"], "lookback": 5, "train_share": 0.5}
    with CNNLSTMHyperparameterOptimizer(config=tiny, quiet=True) as optimizer:
        optimizer.optimize(n_trials=14)
    path, lines = narrow_study(Path(tiny["save_dir"]), tmp_path / "narrowed.yaml")
    settings = load_settings(path)
    assert settings.save_dir.name == "results_narrowed"
    assert settings.data.lookback == 5
    changed = [
        name for name, domain in settings.space.domains.items() if domain != optimizer.settings.space.domains[name]
    ]
    assert [line.split(":")[0] for line in lines] == changed
    assert changed
