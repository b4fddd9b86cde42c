"""Fixtures of the search's tests; the builders are in ``builders/records.py``."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import records
from cnn_lstm_hyperopt.config import SearchSpace
from cnn_lstm_hyperopt.search import Study, StudyPlan, StudyStorage, TrialRecord


@pytest.fixture(scope="session")
def make_space() -> Callable[..., SearchSpace]:
    return records.make_space


@pytest.fixture(scope="session")
def make_record() -> Callable[..., TrialRecord]:
    return records.make_record


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., StudyPlan]:
    return records.make_plan


@pytest.fixture(scope="session")
def cheap() -> records.Cheap:
    return records.CHEAP


@pytest.fixture
def make_study(tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """Make a study, or a new one on the stored trials of the earlier ones of the same ``file``.

    In memory unless ``disk=True``. On disk, earlier studies are closed first unless ``beside=True`` (other workers).
    """
    memory: dict[str, StudyStorage] = {}
    opened: list[StudyStorage] = []

    def close() -> None:
        for storage in opened:
            storage.close()
        opened.clear()

    def make(
        space: Any = None,
        *,
        file: str = "study.db",
        disk: bool = False,
        beside: bool = False,
        claim: Any = None,
        worker: int | None = None,
        **plan: Any,
    ) -> Study:
        if not disk:
            storage = memory.setdefault(file, StudyStorage.in_memory(file))
        else:
            if not beside:
                close()
            path = tmp_path / file
            storage = StudyStorage(path, create=None if path.exists() else "a study")
            opened.append(storage)
        return Study(storage, records.make_plan(space, **plan), claim=claim, worker=worker)

    yield make
    close()
