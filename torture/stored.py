"""What a run left behind, read without any code of the package: SQLite, JSON, CSV, Parquet and safetensors."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

FINISHED = ("COMPLETE", "PRUNED")


@dataclass(frozen=True)
class Trial:
    """A row of ``trials`` with all that belongs to it."""

    number: int
    state: str
    params: dict[str, Any]
    values: tuple[float, ...]
    attributes: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether it counts."""
        return self.state in FINISHED

    @property
    def reason(self) -> str:
        """Why it was pruned or failed."""
        return str(self.attributes.get("reason", ""))


@dataclass(frozen=True)
class StoredStudy:
    """The only study of a file."""

    attributes: dict[str, Any]
    trials: list[Trial]

    @property
    def finished(self) -> list[Trial]:
        """COMPLETE and PRUNED trials."""
        return [trial for trial in self.trials if trial.finished]


def read_study(save_dir: Path) -> StoredStudy:
    """Reads ``study.db`` without writing to it; the run may be alive, or dead by a kill.

    Raises:
        sqlite3.Error: the file is damaged or no study's.
        ValueError: it holds another number of studies than one.
    """
    with closing(_open(save_dir)) as db:
        db.execute("BEGIN")  # all of one moment
        studies = db.execute("SELECT study_id FROM studies").fetchall()
        if len(studies) != 1:
            raise ValueError(f"study.db holds {len(studies)} studies")
        attributes = db.execute("SELECT key, value_json FROM study_user_attributes").fetchall()
        trials = db.execute("SELECT trial_id, number, state FROM trials ORDER BY number, trial_id").fetchall()
        params = db.execute("SELECT trial_id, param_name, param_value, distribution_json FROM trial_params").fetchall()
        values = db.execute("SELECT trial_id, value FROM trial_values ORDER BY objective").fetchall()
        notes = db.execute("SELECT trial_id, key, value_json FROM trial_user_attributes").fetchall()
    return StoredStudy(
        {key: json.loads(text) for key, text in attributes},
        [
            Trial(
                number,
                state,
                {name: _param(value, text) for owner, name, value, text in sorted(params) if owner == trial_id},
                tuple(value for owner, value in values if owner == trial_id),
                {
                    key: value
                    for owner, key, text in sorted(notes)
                    if owner == trial_id and (value := json.loads(text)) is not None  # null: it was taken back
                },
            )
            for trial_id, number, state in trials
        ],
    )


def is_whole(save_dir: Path) -> bool:
    """Whether SQLite finds nothing wrong with ``study.db``."""
    with closing(_open(save_dir)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def strict_json(path: Path) -> Any:
    """Raises ValueError where the file has a NaN, which other languages can't read."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{path.name} holds {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def _open(save_dir: Path) -> sqlite3.Connection:
    """Read-only; where no log lies beside the file also without making one, which such a reader can't take away again."""
    path = save_dir / "study.db"
    alone = "" if path.with_name("study.db-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True, timeout=30)


def _param(value: float, distribution: str) -> Any:
    described = json.loads(distribution)
    match described["name"]:
        case "CategoricalDistribution":
            return described["attributes"]["choices"][int(value)]
        case "IntDistribution":
            return int(value)
        case _:
            return value
