"""Writing of versions: a version is written completely, then ``versions.json`` is replaced, which makes the version serve."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.inference.versions import History, ModelVersion, read_history, version_folder
from cnn_lstm_hyperopt.pipeline.results.model_card import escaped
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import MODEL_CARD, VERSIONS, VERSIONS_FILE
from cnn_lstm_hyperopt.utils.atomic_io import flush_folder, remove_folder, remove_parts, write_json, write_text
from cnn_lstm_hyperopt.utils.text import printable

_HEADING = "## Versions"


def now() -> str:
    """Return the present time in ISO 8601, in UTC, without fractions of a second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def publish(
    folder: Path, history: History, model: SavedModel, version: ModelVersion, event: Mapping[str, Any]
) -> History:
    """Write a version of the model in ``folder`` and let it serve. Return the new history.

    If the process is killed at any moment, the earlier version still serves.
    """
    place = version_folder(folder, version.version)
    beside = place.with_name(f".{place.name}.part")
    place.parent.mkdir(exist_ok=True)
    for each in (beside, place):
        remove_folder(each)
    model.save(beside)
    card = f"# Version {version.version} of the model in the folder `{escaped(folder.absolute().name)}`\n\n{version.sentence}\n"
    (beside / MODEL_CARD).write_text(card, encoding="utf-8", newline="\n")
    flush_folder(beside)
    beside.rename(place)
    _flush_names(place.parent)
    return record(folder, replace(history, current=version.version, versions=(*history.versions, version)), event)


def record(folder: Path, history: History, event: Mapping[str, Any]) -> History:
    """Write the history of the model in ``folder`` with one more event, then the history in the model card."""
    history = replace(history, events=(*history.events, event))
    write_json(folder / VERSIONS_FILE, history.as_dict(), make_folder=False)
    _flush_names(folder)
    write_card(folder, history)
    return history


def clean(folder: Path, history: History) -> None:
    """Remove versions that a killed update left half-written or not yet serving, and repair the history in the model card."""
    remove_parts(folder, of=folder / VERSIONS_FILE)
    places = (folder / VERSIONS).iterdir() if (folder / VERSIONS).is_dir() else ()
    for place in list(places):
        if re.fullmatch(r"\.\d+\.part", place.name) or place.name == str(history.next_number):
            remove_folder(place)
    if history.events:
        write_card(folder, history)


def rollback(folder: Path) -> History:
    """Let the version serve that served before the present one. Return the new history.

    Raises:
        SaveDirError: the model has no earlier version, or another process uses the directory of the study.
    """
    with only_run(folder.absolute().parent):
        history = read_history(folder)
        clean(folder, history)
        present = history.present
        if present is None:
            raise SaveDirError(
                f"--model {printable(str(folder))} has no earlier version, because version 1 serves; the command update creates"
                " versions",
                field="--model",
                code="no-earlier-version",
            )
        event = {"event": "rollback", "time": now(), "from": present.version, "to": present.parent}
        return record(folder, replace(history, current=present.parent), event)


def write_card(folder: Path, history: History) -> None:
    """Add the history to the model card of the first version. An earlier history is replaced."""
    path = folder / MODEL_CARD
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    head, found, rest = before.partition(f"\n{_HEADING}\n")
    after = rest.partition("\n## ")
    kept = f"\n## {after[2]}" if found and after[1] else ""
    lines = [
        head.rstrip(),
        "",
        _HEADING,
        "",
        f"Version {history.current} serves. Later versions are in `versions/`. `rollback` returns to the version before.",
        "",
        "| date | event | bars up to | accuracy | log loss | result |",
        "|---|---|---|---|---|---|",
        *map(_row, history.events),
        "",
    ]
    text = "\n".join(lines).lstrip("\n") + kept
    if text != before:
        write_text(path, text, make_folder=False)


def _row(event: Mapping[str, Any]) -> str:
    if event["event"] == "rollback":
        return f"| {escaped(event['time'])} | rollback | | | | version {event['to']} serves |"
    measured = event["measured"] or {}
    scores = [f"{measured[name]:.4f}" if name in measured else "–" for name in ("accuracy", "log_loss")]
    cells = [event["time"], event["policy"], event["measured_until"], *scores, event["reason"]]
    return f"| {' | '.join(escaped(each, 300) for each in cells)} |"


def _flush_names(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a rename survives a loss of power. Windows can't open folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
