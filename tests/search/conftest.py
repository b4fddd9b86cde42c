"""Fixtures of the search's tests; the builders are in ``builders/records.py``."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.records import make_plan
from cnn_lstm_hyperopt.search import Study, StudyStorage


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
        space: Any = None, *, file: str = "study.db", disk: bool = False, beside: bool = False, **more: Any
    ) -> Study:
        claim, worker = more.pop("claim", None), more.pop("worker", None)
        if not disk:
            storage = memory.setdefault(file, StudyStorage.in_memory(file))
        else:
            if not beside:
                close()
            path = tmp_path / file
            storage = StudyStorage(path, create=None if path.exists() else "a study")
            opened.append(storage)
        return Study(storage, make_plan(space, **more), claim=claim, worker=worker)

    yield make
    close()
