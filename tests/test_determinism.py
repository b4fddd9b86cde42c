"""A seed determines the study: to the bit with one worker and estimated seconds, trial by trial with two."""

from pathlib import Path

import pytest

from torture.chapters import measure_speed
from torture.comparison import differences, unlike_by_number
from torture.kills import SETUPS, environment_with, settings_of, undisturbed
from torture.stored import read_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 5


@pytest.fixture(scope="module")
def left_by(tmp_path_factory: pytest.TempPathFactory):
    """Runs a setup in processes of its own; returns its directory."""
    root = tmp_path_factory.mktemp("determinism")
    measure_speed(root / "speed", root / "cache")

    def run(setup: str, place: str, **study: int) -> Path:
        folder = root / place
        settings = settings_of(setup, SEED, folder, **study)
        undisturbed(settings, folder, environment_with(root / "cache"))
        return folder / "results"

    return run


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("setup", ["gp, front", "tpe, median, 2 folds"])
def test_one_worker_gives_the_same_study_models_and_results_again(left_by, setup: str) -> None:
    first, again = (left_by(setup, f"{setup}, {name}", n_trials=16) for name in ("first", "again"))
    assert differences(again, first) == []
    assert differences(first, again) == []


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_two_workers_begin_with_the_same_proposals_and_a_trials_number_says_what_becomes_of_it(
    left_by, sampler: str
) -> None:
    (setup,) = [name for name in SETUPS if name.startswith(sampler) and name.endswith("2 workers")]
    alone = setup.removesuffix(", 2 workers")
    one, two, again = (
        left_by(name, f"{sampler}, {place}", n_trials=20)
        for name, place in ((alone, "one"), (setup, "two"), (setup, "again"))
    )
    initial = 6 if sampler == "tpe" else 3  # n_startup_trials; gp's own are fewer
    proposals = [[trial.params for trial in read_study(folder).trials[:initial]] for folder in (one, two, again)]
    assert proposals[0] == proposals[1] == proposals[2]
    assert unlike_by_number(two, one) == []
    assert unlike_by_number(again, two) == []
    seen = [
        {(trial.number, str(trial.params)) for trial in read_study(folder).finished} for folder in (one, two, again)
    ]
    assert min(len(seen[0] & seen[1]), len(seen[1] & seen[2])) >= initial  # so that something was compared
