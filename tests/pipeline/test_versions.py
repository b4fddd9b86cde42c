"""Versions of a model on disk: which one is loaded, rollback, and what a killed writer leaves."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from builders.errors import raises
from builders.models import own_inputs, untrained
from cnn_lstm_hyperopt import load_model, rollback_model
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.inference.versions import ModelVersion, read_history
from cnn_lstm_hyperopt.pipeline.results import refit_folder
from cnn_lstm_hyperopt.pipeline.updates import publish
from cnn_lstm_hyperopt.pipeline.updates.publish import clean, record


def facts(version: int, parent: int) -> ModelVersion:
    return ModelVersion(version, parent, "2026-01-02T03:04:05+00:00", "refit", "2026-01-01", "2026-01-02", 9, 9, 2)


def event(version: int) -> dict[str, object]:
    return {
        "event": "update",
        "time": "2026-01-02T03:04:05+00:00",
        "policy": "refit",
        "measured": {"accuracy": 0.5, "log_loss": 0.7},
        "measured_until": "2026-01-01",
        "reason": f"version {version} is not worse",
    }


class Models:
    """A model's folder, and networks with known weights for its versions."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder / "retrained_model_1", {}
        self.made[1] = untrained(own_inputs(), seed=1)
        self.made[1].save(self.folder)
        (self.folder / "README.md").write_text("# Card\n\n## Use\n\nText.\n")

    def add(self, version: int) -> None:
        history = read_history(self.folder)
        self.made[version] = untrained(own_inputs(), seed=version)
        new = facts(version, history.current)
        publish.publish(self.folder, history, self.made[version], new, event(version))

    def serves(self, *, tested: bool = False) -> int:
        """Return the version whose weights are loaded."""
        loaded = load_model(self.folder, tested=tested)
        same = [
            version
            for version, model in self.made.items()
            if all(
                torch.equal(mine, its)
                for mine, its in zip(
                    model.network.state_dict().values(), loaded.network.state_dict().values(), strict=True
                )
            )
        ]
        (found,) = same
        assert (loaded.version.version if loaded.version else 1) == found
        return found


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path)


def test_the_newest_version_serves_and_a_rollback_returns_to_its_parent(models):
    assert models.serves() == 1
    models.add(2)
    models.add(3)
    assert (models.serves(), models.serves(tested=True)) == (3, 1)
    assert rollback_model(models.folder) == 2
    models.add(4)  # of version 2
    assert models.serves() == 4
    assert [rollback_model(models.folder), models.serves()] == [2, 2]
    assert [rollback_model(models.folder), models.serves()] == [1, 1]
    with raises(SaveDirError, "no-earlier-version", "--model"):
        rollback_model(models.folder)
    assert sorted(each.name for each in (models.folder / "versions").iterdir()) == ["2", "3", "4"]


def test_the_card_has_one_section_with_the_whole_history(models):
    models.add(2)
    models.add(3)
    rollback_model(models.folder)
    card = (models.folder / "README.md").read_text()
    assert card.startswith("# Card\n\n## Use\n\nText.\n")
    assert card.count("## Versions") == 1
    rows = [line for line in card.splitlines() if line.startswith("| 20")]
    assert [("rollback" in row, "version 2" in row) for row in rows] == [(False, True), (False, False), (True, True)]
    clean(models.folder, read_history(models.folder))
    assert (models.folder / "README.md").read_text() == card


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("last", [13, 8, *range(18)])
def test_a_writer_that_ends_at_any_step_leaves_a_version_that_serves(models, monkeypatch, last):
    """The process ends before one of the writer's operations on files; then the next writer starts."""
    models.add(2)
    steps = itertools.count()

    def ending(name: str, method):
        def run(*args, **kwargs):
            if next(steps) == last:
                raise Killed
            return method(*args, **kwargs)

        return run

    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "write_bytes", "write_text", "open"):
            patch.setattr(Path, name, ending(name, getattr(Path, name)))
        try:
            models.add(3)
            ended = False
        except Killed:
            ended = True
    assert models.serves() in (2, 3)
    assert ended or (models.serves() == 3 and last > 10)
    before = models.serves()
    history = read_history(models.folder)
    clean(models.folder, history)
    left = {each.name for each in (models.folder / "versions").iterdir()}
    assert left == {str(each.version) for each in history.versions}
    assert not [each for each in models.folder.iterdir() if each.name.endswith(".part")]
    record(models.folder, history, event(before))
    assert models.serves() == before
    models.add(history.next_number)
    assert models.serves() == history.next_number


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"current": 7}, "current", "no-version"),
        ({"current": "2"}, "current", "int-type"),
        ({"format": 2}, "format", "literal-error"),
        ({"more": 1}, "more", "extra-forbidden"),
        ({"versions": []}, "current", "no-version"),
    ],
)
def test_an_invalid_history_is_refused(models, change, field, code):
    models.add(2)
    path = models.folder / "versions.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(SaveDirError) as caught:
        load_model(models.folder)
    assert [(each.field, each.code) for each in caught.value.violations] == [(field, code)]
    assert load_model(models.folder, tested=True).version is None


def test_a_version_behind_a_link_is_refused(models, tmp_path):
    models.add(2)
    (models.folder / "versions" / "2").rename(tmp_path / "elsewhere")
    (models.folder / "versions" / "2").symlink_to(tmp_path / "elsewhere")
    with raises(SaveDirError, "version-is-link", "versions.json"):
        load_model(models.folder)


def test_versions_go_with_the_same_networks_into_a_new_folder_of_the_model(models, tmp_path):
    models.add(2)
    entry = {"networks": ["model.safetensors"]}
    same, other = tmp_path / "same", tmp_path / "other"
    models.made[1].save(same)
    untrained(own_inputs(), seed=9).save(other)
    for folder in (same, other):
        refit_folder.keep_versions(models.folder, folder, entry)
    assert load_model(same).version == facts(2, 1)
    assert not refit_folder.has_versions(other)
