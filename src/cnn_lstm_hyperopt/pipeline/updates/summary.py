"""Text about an update: new bars, scores, comparison and decision."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_lstm_hyperopt.utils.text import counted, shown_names


def update_lines(event: Mapping[str, Any], *, dry_run: bool) -> list[str]:
    """Return a short table about an update, from its record in ``versions.json``."""
    measured, compared = event["measured"], event["validation"]
    rows = [("New bars", _windows(measured, event["symbols"]) if measured else "none since the last measurement")]
    if measured:
        rows.append((f"Version {event['served']}", f"on them: {_scores(measured)}"))
    if (drift := event.get("drift")) is not None:
        rows.append(("Drift", drift_text(drift)))
    if compared:
        rows += [
            ("Candidate", f"{_scores(compared['candidate'])}, trained on {compared['candidate_windows']:,} windows"),
            (f"Version {event['served']}", f"{_scores(compared['present'])}, on the same {_windows(compared, None)}"),
        ]
    rows.append(("Decision", _decision(event, dry_run=dry_run)))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]


def drift_text(drift: Mapping[str, Any]) -> str:
    """Return a sentence about the changes of the error rate and of the features."""
    features, changes = drift["features"], drift["errors"]["changes"]
    parts = [
        f"the error rate changed from {each['before']:.1%} to {each['after']:.1%} about {each['since']}"
        for each in changes
    ]
    if features["changed"]:
        named = shown_names([f"{each['feature']} (p = {each['p']:.1g})" for each in features["changed"]])
        parts.append(f"features changed since the training: {named}")
    return f"{'; '.join(parts) or 'none found'}{_not_tested(features)}"


def _not_tested(features: Mapping[str, Any]) -> str:
    if features["changed"] is None:
        return "; too few windows to test the features"
    names = features.get("not_tested")  # records of earlier versions have none
    return f"; too few independent windows to test {shown_names(names)}" if names else ""


def _windows(part: Mapping[str, Any], symbols: int | None) -> str:
    of = "" if symbols is None else f" of {counted(symbols, 'symbol')}"
    return f"{part['windows']:,} windows{of}, {part['first']} to {part['last']}"


def _scores(part: Mapping[str, Any]) -> str:
    return f"accuracy {_score(part, 'accuracy', 3)}, log loss {_score(part, 'log_loss', 4)}"


def _score(part: Mapping[str, Any], name: str, digits: int) -> str:
    interval: Sequence[float] | None = part[f"{name}_interval"]
    between = "" if interval is None else f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
    return f"{part[name]:.{digits}f}{between}"


def _decision(event: Mapping[str, Any], *, dry_run: bool) -> str:
    wrote = " Nothing was written (dry run)." if dry_run else ""
    if event["decision"] == "accepted":
        verb = "a new version would serve" if dry_run else f"version {event['version']} serves now"
        return f"accepted: {verb}; {event['reason']}.{wrote}"
    if event["decision"] == "measured":
        return f"no candidate: {event['reason']}.{wrote}"
    return f"version {event['served']} stays: {event['reason']}.{wrote}"
