"""What a study has left in its directory, read like any other reader does."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import SearchSpace, Settings, load_settings
from cnn_lstm_hyperopt.pipeline.results.search_results import read_results
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, RESULTS_FILE, STUDY_FILE
from cnn_lstm_hyperopt.search import SkillGate, StudyStorage, TrialRecord, read_description, study_space

ID_ATTRIBUTE = "tracking_id"
"""Of a study: by it its runs are found again, wherever its directory lies."""


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        study_id: the same in every snapshot of the study.
        name: of the study.
        save_dir: where it lies.
        settings: as its last run had them.
        space: that was searched.
        gate: above which a trial has learnt something.
        n_trials: that it is to have.
        ended: trials of which nothing more will come, in order of number.
        times: when each trial began and ended.
        results: what ``results.json`` holds; None: it is not there, or damaged.
    """

    study_id: str
    name: str
    save_dir: Path
    settings: Settings
    space: SearchSpace
    gate: SkillGate
    n_trials: int
    ended: tuple[TrialRecord, ...]
    times: dict[int, tuple[datetime | None, datetime | None]]
    results: dict[str, Any] | None

    def began(self, number: int) -> int:
        """When a trial began, in ms since 1970."""
        return _milliseconds(self.times[number][0])

    def ended_at(self, number: int) -> int:
        """When a trial ended, in ms since 1970."""
        began, ended = self.times[number]
        return _milliseconds(ended or began)


class Source:
    """Reads one study again and again."""

    def __init__(self, save_dir: Path) -> None:
        """Opens it.

        Raises:
            SaveDirError: there is no study, or it is damaged.
        """
        self._save_dir = save_dir
        self._storage = StudyStorage(save_dir / STUDY_FILE)
        self._seen: tuple[Any, ...] | None = None
        self._settings: tuple[Any, Settings] | None = None

    def close(self) -> None:
        """Lets go of the file."""
        self._storage.close()

    def news(self) -> list[str]:
        """Return sentences about trials that other programs added to the study or changed; each trial is named once."""
        return self._storage.news()

    def changed(self) -> bool:
        """Whether anything was written since this was asked last."""
        names = (STUDY_FILE, f"{STUDY_FILE}-wal", RESULTS_FILE)
        now = tuple(_stamp(self._save_dir / name) for name in names)
        before, self._seen = self._seen, now
        return now != before

    def snapshot(self) -> Snapshot:
        """The study as it is now.

        Raises:
            HyperoptError: it can't be read any more.
        """
        storage, save_dir = self._storage, self._save_dir
        ended = tuple(record for record in storage.records() if record.state.ended)
        try:
            results = read_results(save_dir / RESULTS_FILE)
        except ValueError:  # a run that goes on says so and why
            results = None
        settings = self._read_settings()
        return Snapshot(
            study_id=study_id(storage),
            name=storage.study.study_name,
            save_dir=save_dir,
            settings=settings,
            space=study_space(settings, read_description(save_dir)),
            gate=SkillGate(**storage.attribute("skill_gate")),
            n_trials=int(storage.attribute("n_trials")),
            ended=ended,
            times=storage.times(),
            results=results,
        )

    def _read_settings(self) -> Settings:
        """Read anew only when they were written anew: it takes a while."""
        path = self._save_dir / CONFIG_FILE
        stamp = _stamp(path)
        if self._settings is None or self._settings[0] != stamp:
            self._settings = stamp, load_settings(path, environment={})
        return self._settings[1]


def study_id(storage: StudyStorage) -> str:
    """By which the study's runs are found; one is given to a study that has none."""
    found = storage.attribute(ID_ATTRIBUTE)
    if not isinstance(found, str):
        found = uuid.uuid4().hex
        storage.set_attribute(ID_ATTRIBUTE, found)
    return found


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
