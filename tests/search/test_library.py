"""Study library: its files, and the first trials that it gives to a new study."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders.errors import raises
from builders.records import make_plan
from cnn_lstm_hyperopt.config import parse_space
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.search.initial_trials.entries import full_configuration
from cnn_lstm_hyperopt.search.initial_trials.library import (
    LibraryStudy,
    LibraryTrial,
    add,
    identity,
    read,
    require_folder,
)
from cnn_lstm_hyperopt.search.initial_trials.transfer import (
    REFERENCE,
    StudyTable,
    chosen,
    distance,
    read_library,
)

SPACE = {
    "lstm": {"hidden_dim": [16, 20, 24, 32, 40, 48, 64, 80, 96, 128], "num_layers": [1, 2]},
    "training": {"batch_size": {"low": 16, "high": 128}},
}
DATA = {"ln_windows": math.log(1000), "ln_length": math.log(20), "autocorrelation": 0.5}


def plan(space=SPACE, **changed):
    return make_plan(space, **changed)


def study(name="first", *, seed=0, n=24, space=SPACE, best_width=64.0, target="direction", **data):
    """A study whose score falls with the distance of a width from the best one, and whose seconds grow with the width."""
    parsed, trials = parse_space(space)[0], []
    for number in range(n):
        params = random_configuration(parsed, seed, number)
        width = float(params["lstm.hidden_dim"])
        score = 0.7 - 0.2 * abs(math.log(width / best_width)) - 0.05 * (number % 3)
        trials.append((params, score, width / 10, width / 50))
    keep = non_dominated([(-score, seconds, size) for _, score, seconds, size in trials])
    rows = [
        LibraryTrial(full_configuration(parsed, params), *values, bool(front))
        for (params, *values), front in zip(trials, keep, strict=True)
    ]
    return LibraryStudy(name, identity({"name": name}), target, {**DATA, **data}, rows)


def names(found):
    """Names of the studies that were used, from their labels."""
    return tuple(label.rpartition("-")[0] for label in found.studies)


def first(folder: Path, of=None, **changed):
    return read_library(folder, of or plan(), made_from="new", target="direction", characteristics={**DATA, **changed})


def test_a_study_is_read_as_it_was_added_and_replaced_by_itself(tmp_path: Path) -> None:
    mine = study()
    add(tmp_path, study(n=21))
    add(tmp_path, mine)
    assert read(tmp_path) == ([replace(mine, trials=list(mine.trials))], [])


def test_a_file_that_is_not_of_a_library_is_skipped_with_its_name(tmp_path: Path) -> None:
    path = add(tmp_path, study())
    content = json.loads(path.read_text())
    wrong = {"half": path.read_text()[:100], "list": "[]", "later": json.dumps({**content, "format": 99})}
    wrong["zero"] = path.read_text().replace(f'"size_mb": {content["trials"][0]["size_mb"]}', '"size_mb": 0.0')
    for name, text in wrong.items():
        (tmp_path / f"{name}.json").write_text(text)
    studies, warnings = read(tmp_path)
    assert [each.study for each in studies] == ["first"]
    assert len(warnings) == len(wrong)
    assert all(any(f"{name}.json" in warning for warning in warnings) for name in wrong)


def test_a_folder_that_cannot_be_made_is_refused_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/library"):
        with raises(ConfigError, "library-not-writable", "study.library"):
            require_folder(tmp_path / place)
    require_folder(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_first_trials_are_from_the_front_and_depend_on_the_library_alone(tmp_path: Path) -> None:
    mine = study()
    add(tmp_path, mine)
    found = first(tmp_path)
    assert found == first(tmp_path)
    assert (names(found), found.warnings) == (("first",), ())
    assert (tmp_path / f"{found.studies[0]}.json").is_file()
    fronts = [dict(trial.params) for trial in mine.trials if trial.on_front]
    assert 0 < len(found.starts) <= len(fronts)
    for start in found.starts:
        assert start.origin == "library"
        assert full_configuration(plan().space, start.params) in fronts


def test_the_set_grows_by_the_largest_gain_per_second_as_in_brute_force() -> None:
    tables = [StudyTable.of(study(seed=seed, best_width=width).trials, plan()) for seed, width in ((1, 40), (2, 90))]
    assert all(table is not None for table in tables)
    starts = chosen([table for table in tables if table], plan())
    widths = [start.params["lstm.hidden_dim"] for start in starts]
    # A third of the trials has no penalty, and only these are on a front.
    candidates = {
        float(params["lstm.hidden_dim"])
        for table in tables
        if table
        for params, front in zip(table.params, table.front, strict=True)
        if front
    }

    def gain(width: float) -> float:
        gains = []
        for table, best in zip(tables, (40, 90), strict=True):
            assert table is not None
            front = table.losses[table.front]
            low, size = front.min(axis=0), np.ptp(front, axis=0)
            row = np.array([-0.7 + 0.2 * abs(math.log(width / best)), math.log(width / 10), math.log(width / 50)])
            gains.append(hypervolume([(row - low) / size], (REFERENCE,) * 3))
        return float(np.mean(gains)) / width

    ranked = sorted(candidates, key=gain, reverse=True)
    assert widths[0] in ranked[: len(ranked) // 3]


def test_studies_of_similar_data_come_first(tmp_path: Path) -> None:
    for number in range(7):
        add(tmp_path, study(f"s{number}", seed=number, ln_windows=math.log(1000) + (number - 3) ** 2))
    assert names(first(tmp_path)) == ("s3", "s2", "s4", "s1", "s5")
    other = study(target="volatility")
    assert distance(other, "direction", DATA) == 1 == 1 + distance(other, "volatility", DATA)


def test_the_same_study_and_studies_of_another_space_are_not_used(tmp_path: Path) -> None:
    mine = study()
    add(tmp_path, mine)
    again = read_library(tmp_path, plan(), made_from=mine.made_from, target="direction", characteristics=DATA)
    assert (again.starts, again.studies) == ((), ())
    wide = plan({"lstm": {"hidden_dim": [256, 512]}})
    assert first(tmp_path, wide).starts == ()


@pytest.mark.parametrize("n", [1, 19])
def test_a_study_with_few_trials_is_not_used(tmp_path: Path, n: int) -> None:
    add(tmp_path, study(n=n))
    assert first(tmp_path).studies == ()


def test_a_large_study_counts_with_its_whole_front() -> None:
    large = study(n=700)
    table = StudyTable.of(large.trials, plan())
    assert table is not None
    assert len(table.params) < 450
    assert table.front.sum() == sum(trial.on_front for trial in large.trials)


def test_no_configuration_is_tried_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add(tmp_path, study(name))
    starts = [start.params for start in first(tmp_path).starts]
    assert all(one != other for one, other in itertools.combinations(starts, 2))
