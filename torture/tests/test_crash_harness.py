"""The crash harness is tested itself: its checker finds each planted fault, and kills of a real run leave none.

``make torture`` is its long form.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.run import run
from torture.checker import faults, torn_files
from torture.comparison import differences, unlike_by_number
from torture.kills import (
    CONFIRMATION,
    MAKING,
    RETRAINING,
    SAVING,
    SEARCH,
    STRUCK,
    Aim,
    Reference,
    Run,
    environment_with,
    settings_of,
    tell,
)

pytestmark = pytest.mark.slow
N_TRIALS = 8
SETUP = "gp, front"
SEED = 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A whole run of eight trials that nobody disturbed, with lengths of stages that are about right."""
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = Settings.model_validate(settings_of(SETUP, SEED, folder, n_trials=N_TRIALS))
    run(settings, RunEvents(), resume=False)
    return Reference(folder, dict.fromkeys(range(9), 0.3))


@pytest.fixture
def left(undisturbed: Reference, tmp_path: Path) -> Path:
    """A copy of what it left, to be spoilt."""
    return Path(shutil.copytree(undisturbed.folder / "results", tmp_path / "results"))


def test_a_run_that_nobody_disturbed_has_no_faults_and_is_like_itself(undisturbed: Reference, left: Path) -> None:
    assert faults(left, n_trials=N_TRIALS) == []
    assert torn_files(left) == []
    assert differences(left, undisturbed.folder / "results") == []


def sql(*statements: str) -> Callable[[Path], None]:
    """Changes ``study.db``."""

    def spoil(save_dir: Path) -> None:
        with closing(sqlite3.connect(save_dir / "study.db")) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()

    return spoil


def in_json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Changes a JSON file."""

    def spoil(save_dir: Path) -> None:
        value = json.loads((save_dir / name).read_text())
        change(value)
        (save_dir / name).write_text(json.dumps(value))

    return spoil


def in_bytes(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes the bytes of a file."""

    def spoil(save_dir: Path) -> None:
        (save_dir / name).write_bytes(change((save_dir / name).read_bytes()))

    return spoil


def left_over(name: str) -> Callable[[Path], None]:
    """A file that a whole run does not leave."""

    def spoil(save_dir: Path) -> None:
        (save_dir / name).parent.mkdir(exist_ok=True)
        (save_dir / name).write_bytes(b"")

    return spoil


def _without_a_row(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:-1])


def _less_right(save_dir: Path) -> None:
    path = save_dir / "validation" / "trial_00000.parquet"
    table = pd.read_parquet(path)
    table["label"] = 1 - table["label"]
    table.to_parquet(path)


PLANTED = {
    "a lost trial": (
        sql("DELETE FROM trials WHERE number = 7"),
        "study.db: 7 trials are finished, not 8",
    ),
    "a hole": (sql("DELETE FROM trials WHERE number = 3"), "numbers are not 0 … 6"),
    "a doubled number": (sql("UPDATE trials SET number = 3 WHERE number = 4"), "numbers are not 0 … 7"),
    "one that runs": (sql("UPDATE trials SET state = 'RUNNING' WHERE number = 7"), "trial 7 is RUNNING"),
    "one that waits": (sql("UPDATE trials SET state = 'WAITING' WHERE number = 7"), "trial 7 is WAITING"),
    "one that failed and was not tried again": (
        sql("UPDATE trials SET state = 'FAIL' WHERE number = 7"),
        "trial 7 failed",
    ),
    "a doubled configuration": (
        sql(
            "DELETE FROM trial_params WHERE trial_id = 8",
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)"
            " SELECT 8, param_name, param_value, distribution_json FROM trial_params WHERE trial_id = 7",
        ),
        "6, 7] have one configuration",
    ),
    "a retry of what did not fail": (
        sql("INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (2, 'retry_of', '0')"),
        "trial 1 is a retry of 0, which did not fail or is another one",
    ),
    "an epoch told twice": (
        sql(
            "UPDATE trial_user_attributes SET value_json = replace(value_json, '[[1.0,', '[[2.0,') WHERE key = 'curve'"
        ),
        "a curve of epochs",
    ),
    "a changed value": (
        sql("UPDATE trial_values SET value = value + 0.01 WHERE objective = 0"),
        "has the values",
    ),
    "a total that is another one": (
        sql("UPDATE study_user_attributes SET value_json = '9' WHERE key = 'n_trials'"),
        "n_trials is 9, not 8",
    ),
    "a second opening of the test period": (
        sql(
            "UPDATE study_user_attributes SET value_json = json_insert(value_json, '$[#]',"
            ' json(\'{"time": "later", "trials": [0]}\')) WHERE key = \'test_openings\''
        ),
        "test_openings",
    ),
    "a database with other bytes": (
        in_bytes("study.db", lambda data: data[:4096] + bytes(8192) + data[12_288:]),
        "DatabaseError",
    ),
    "half a database": (in_bytes("study.db", lambda data: data[: len(data) // 2]), "DatabaseError"),
    "no results": (lambda save_dir: (save_dir / "results.json").unlink(), "results.json"),
    "half of the results": (in_bytes("results.json", lambda data: data[: len(data) // 2]), "JSONDecodeError"),
    "a NaN": (
        in_bytes("results.json", lambda data: data.replace(b'"seed": 0', b'"seed": NaN')),
        "results.json holds NaN",
    ),
    "a front that lacks a trial": (
        in_json("results.json", lambda results: results["best_trials"].pop()),
        "best_trials",
    ),
    "a history of other trials": (
        in_json("results.json", lambda results: results["optimization_history"].pop(2)),
        "optimization_history",
    ),
    "a wrong count": (
        in_json("results.json", lambda results: results["counts"].update(PRUNED=results["counts"]["PRUNED"] + 1)),
        "counts",
    ),
    "a model that is not told of": (
        in_json("results.json", lambda results: results["retrained_models"].pop()),
        "retrained",
    ),
    "a seed that is missing": (
        in_json("results.json", lambda results: results["confirmation"]["candidates"][0]["scores"].pop()),
        "is confirmed with 1 seeds",
    ),
    "no table": (lambda save_dir: (save_dir / "trials.csv").unlink(), "trials.csv"),
    "a table without the last trial": (in_bytes("trials.csv", _without_a_row), "trials.csv: rows of trials"),
    "a table with another state": (
        in_bytes("trials.csv", lambda data: data.replace(b"0,COMPLETE", b"0,PRUNED").replace(b"0,PRUNED", b"0,FAIL")),
        "trials.csv: trial 0 is FAIL",
    ),
    "predictions that are missing": (
        lambda save_dir: (save_dir / "validation" / "trial_00002.parquet").unlink(),
        "validation/trial_00002.parquet is missing",
    ),
    "half of a trial's predictions": (
        in_bytes("validation/trial_00002.parquet", lambda data: data[: len(data) // 2]),
        "validation/trial_00002.parquet",
    ),
    "predictions that are not the trial's": (_less_right, "validation/trial_00000.parquet: an accuracy of"),
    "a model without metrics": (
        lambda save_dir: (save_dir / "retrained_model_1" / "metrics.json").unlink(),
        "retrained_model_1",
    ),
    "metrics of another model": (
        in_json("retrained_model_1/metrics.json", lambda entry: entry.update(trial_number=99)),
        "metrics.json is not what results.json says",
    ),
    "half of the weights": (
        in_bytes("retrained_model_1/model.safetensors", lambda data: data[: len(data) // 2]),
        "SafetensorError",
    ),
    "weights that are not finite": (
        in_bytes("retrained_model_1/model.safetensors", lambda data: data[:-4] + b"\xff\xff\xff\x7f"),
        "weights are not finite",
    ),
    "a seed's network that is missing": (
        lambda save_dir: next((save_dir / "retrained_model_1" / "seeds").iterdir()).unlink(),
        "retrained_model_1",
    ),
    "test predictions without a row": (
        in_bytes("retrained_model_1/predictions.csv", _without_a_row),
        "predictions.csv has",
    ),
    "the opposite class in a test prediction": (
        in_bytes("retrained_model_1/predictions.csv", lambda data: data.replace(b",0,1,", b",0,0,")),
        "predictions.csv: classes are not those of the highest probability",
    ),
    "settings that are no YAML": (in_bytes("config.yaml", lambda data: data + b"\n[: }"), "Error"),
    "a half-written file": (left_over(".results.json.part"), ".results.json.part is left over"),
    "a lock": (left_over(".run.lock"), ".run.lock is left over"),
    "a checkpoint": (left_over("checkpoints/trial_00003.pt"), "checkpoints/trial_00003.pt is left over"),
    "windows for workers": (left_over(".data.safetensors"), ".data.safetensors is left over"),
    "an empty folder": (
        lambda save_dir: (save_dir / "checkpoints").mkdir(),
        "the folder checkpoints is left over",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_checker_finds_a_planted_fault(name: str, left: Path) -> None:
    spoil, expected = PLANTED[name]
    spoil(left)
    found = faults(left, n_trials=N_TRIALS)
    assert any(expected in text for text in found), found


OTHER = {
    "a flipped bit of a weight": (
        in_bytes("retrained_model_1/model.safetensors", lambda data: data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]),
        "retrained_model_1/model.safetensors: other bytes",
    ),
    "a parameter": (
        sql(
            "UPDATE trial_params SET param_value = param_value + 1e-9 WHERE trial_id = 3 AND param_name = 'cnn.dropout'"
        ),
        "study.db: trial 2: params.cnn.dropout: ",
    ),
    "a point of a curve": (
        sql(
            "UPDATE trial_user_attributes SET value_json = '[[1.0, 0.5, 0.6, 0.7]]' WHERE trial_id = 3 AND key = 'curve'"
        ),
        "study.db: trial 2: attributes.curve",
    ),
    "an attribute that is new": (
        sql("INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (3, 'trained_anew', '\"x\"')"),
        "study.db: trial 2: attributes.trained_anew is new",
    ),
    "how a trial was trained": (
        sql("UPDATE trial_user_attributes SET value_json = '\"x\"' WHERE key = 'precision'"),
        "study.db: trial 0: attributes.precision: 'x', not 'float32'",
    ),
    "an interval": (
        in_json("results.json", lambda results: results["verdict"]["score_interval"].reverse()),
        "results.json: verdict.score_interval",
    ),
    "what a fresh seed has said": (
        in_json(
            "results.json", lambda results: results["confirmation"]["candidates"][0]["scores"].__setitem__(0, 0.123)
        ),
        "results.json: confirmation.candidates[].scores[]",
    ),
    "a setting": (
        in_bytes("config.yaml", lambda data: data.replace(b"full_epochs: 3", b"full_epochs: 4")),
        "config.yaml: retrain.full_epochs: 4, not 3",
    ),
    "a validation prediction": (_less_right, "validation/trial_00000.parquet: other bytes"),
    "the data": (in_bytes("data.json", lambda data: data + b" "), "data.json: other bytes"),
}


@pytest.mark.parametrize("name", OTHER)
def test_the_comparison_finds_what_is_not_the_same(name: str, undisturbed: Reference, left: Path) -> None:
    spoil, expected = OTHER[name]
    spoil(left)
    found = differences(left, undisturbed.folder / "results")
    assert any(text.startswith(expected) for text in found), found


def test_a_trial_that_says_something_else_under_its_number_is_found(undisturbed: Reference, left: Path) -> None:
    assert unlike_by_number(left, undisturbed.folder / "results") == []
    OTHER["a point of a curve"][0](left)
    [found] = unlike_by_number(left, undisturbed.folder / "results")
    assert found.startswith("study.db: trial 2 has the curve [[1.0, 0.5, 0.6, 0.7]], in another run")


@pytest.mark.parametrize("name", ["results.json", "trials.csv", "config.yaml", "retrained_model_1/model.safetensors"])
def test_torn_files_are_found_after_a_kill(name: str, left: Path) -> None:
    (left / name).write_bytes(b"")
    assert [text for text in torn_files(left) if text.startswith(name)]


def test_a_stage_that_was_seen_is_not_forgotten_when_its_folder_goes(tmp_path: Path) -> None:
    run_of_nothing = Run(tmp_path, environment_with(tmp_path / "cache"))
    saved = run_of_nothing.save_dir / ".retrained_model_1.part"
    saved.mkdir(parents=True)
    os.utime(saved, (run_of_nothing.begun + 1, run_of_nothing.begun + 1))  # clocks of file systems are coarse
    assert run_of_nothing.stage == SAVING
    saved.rmdir()
    assert run_of_nothing.stage == SAVING
    run_of_nothing.kill("all")


def story(planned: list[Aim], folder: Path, reference: Reference) -> tuple[dict[str, int], list[str]]:
    settings = settings_of(SETUP, SEED, folder, n_trials=N_TRIALS)
    told = tell(
        "test",
        settings,
        planned,
        folder,
        random=Random(0),
        environment=environment_with(folder.parent / "cache"),
        reference=reference,
    )
    return dict(told.kills), told.found


@pytest.mark.thorough
def test_a_run_killed_in_search_and_retraining_ends_as_if_it_had_not_been(
    undisturbed: Reference, tmp_path: Path
) -> None:
    kills, found = story([Aim(SEARCH, 5, 0.3), Aim(RETRAINING, 0, 0.3)], tmp_path / "story", undisturbed)
    assert found == []
    assert sum(kills.values()) == 2


def test_a_run_killed_at_every_stage_ends_as_if_it_had_not_been(undisturbed: Reference, tmp_path: Path) -> None:
    planned = [
        Aim(MAKING, 0, 0.1),
        *(Aim(SEARCH, events, 0.4) for events in (1, 1, 2, 5)),
        Aim(CONFIRMATION, 0, 0.5),
        Aim(RETRAINING, 0, 0.5),
        Aim(SAVING, 0, 0.01),
        Aim(SAVING, 0, 0.8),
    ]
    kills, found = story(planned, tmp_path / "story", undisturbed)
    assert found == []
    assert sum(kills.values()) == len(planned)
    assert kills.keys() <= set(STRUCK)
