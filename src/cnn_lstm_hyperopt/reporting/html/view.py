"""The text of the page: sentences and tables, as they are shown."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cnn_lstm_hyperopt.config import dump_settings
from cnn_lstm_hyperopt.reporting.console.pruning import pruning_lines
from cnn_lstm_hyperopt.reporting.grades import COLOURS, known_grade
from cnn_lstm_hyperopt.reporting.html.calibration_curve import ENOUGH_WINDOWS
from cnn_lstm_hyperopt.reporting.html.convergence import Step, outlook
from cnn_lstm_hyperopt.reporting.html.leaderboard import leaderboard
from cnn_lstm_hyperopt.reporting.html.payload import whole_params
from cnn_lstm_hyperopt.reporting.html.predictions import MOST_GROUPS, model_pages
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, resume_command, resume_in_python
from cnn_lstm_hyperopt.search import State, TrialRecord, hypervolume_history
from cnn_lstm_hyperopt.search.pruning_stats import pruned_by, pruning_summary
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import counted, seconds_text

MOST_CONFIGS = 5
STATISTICS = ("minimum", "lower quartile", "median", "mean", "upper quartile", "maximum")
OBJECTIVES_OF_IMPORTANCE = ("score", "seconds", "size_mb", "front")


def view(content: Content) -> dict[str, Any]:
    """What the template fills in."""
    return {
        "name": content.name,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "verdict": _verdict(content),
        "tiles": _tiles(content),
        "leaderboard": leaderboard(content),
        "front": [_front_row(rank, record) for rank, record in enumerate(content.front, start=1)],
        "objective": content.gate.words,
        "statistics": _statistics(content),
        "statistics_titles": STATISTICS,
        "configs": _configs(content),
        "search_lines": [*(f"{line[:1].upper()}{line[1:]}." for line in content.outside), *_search_lines(content)],
        "pruned_by": _shares(content),
        "convergence": _convergence(content),
        "importances": _importances(content),
        "size_line": _size_line(content),
        "data": content.data,
        "purge": None if "purge" not in content.data else _purge(content.data["purge"]),
        "features": _features(content.data.get("features")),
        "symbols": _symbols(content.data),
        "to_beat": content.gate.to_beat,
        "threshold": f"{content.gate.threshold:.4f}",
        "above_chance": content.above_chance,
        "problems": _problems(content.data),
        "splits": _splits(content.data),
        "models": model_pages(content),
        "enough_windows": ENOUGH_WINDOWS,
        "reproduce": _reproduce(content),
    }


def _verdict(content: Content) -> dict[str, str]:
    """Its grade as the heading, the grade's colour as the class, and the sentence."""
    verdict = content.results.get("verdict")
    done = sum(record.finished for record in content.records)
    if verdict and (content.models or not content.above_chance):  # else it is of a time before a trial beat chance
        grade = known_grade(verdict)
        title, kind = ("Verdict", "open") if grade is None else (grade.capitalize(), COLOURS[grade])
        return {"kind": kind, "title": title, "sentence": verdict["sentence"]}
    best = content.front[0].values if content.front else None
    if best is None:
        sentence = f"Nothing to say yet: of {counted(done, 'finished trial')} none is complete."
    else:
        closed = "" if content.openings else "The test period is closed. "
        sentence = (
            f"{closed}Of {counted(done, 'finished trial')}, trial {content.front[0].number}"
            f" reads best on validation ({content.gate.words} {best.score:.4f}), which flatters it, for it was"
            " chosen by that reading." + ("" if content.above_chance else " It does not beat chance.")
        )
    if content.running:
        sentence += f" The run is at work: {done} of {content.n_trials} trials."
    elif done < content.n_trials:
        sentence += f" Go on with: {_resume(content)}"
    return {"kind": "open", "title": "No verdict yet", "sentence": sentence}


def _tiles(content: Content) -> list[tuple[str, str]]:
    """The figures at the top."""
    count = {state: sum(record.state is state for record in content.records) for state in State}
    done = count[State.COMPLETE] + count[State.PRUNED]
    seconds = sum(record.seconds for record in content.records)
    tiles = [
        (f"{done:,}" + ("" if done >= content.n_trials else f" of {content.n_trials:,}"), "trials"),
        (f"{count[State.PRUNED]:,}", "pruned early"),
        (seconds_text(seconds), "of training in the search"),
        (f"{len(content.front):,}", "on the Pareto front"),
    ]
    if count[State.FAIL]:
        tiles.append((f"{count[State.FAIL]:,}", "failed"))
    times = {0: "never", 1: "once"}.get(content.openings, f"{content.openings} times")
    return [*tiles, (times, "the test period was opened")]


def _front_row(rank: int, record: TrialRecord) -> dict[str, Any]:
    values = record.values
    if values is None:
        raise ValueError(f"trial {record.number} is on the front without values")
    return {
        "rank": rank,
        "number": record.number,
        "score": f"{values.score:.4f}",
        "seconds": seconds_text(values.seconds),
        "mb": f"{values.size_mb:.3f}",
    }


def _statistics(content: Content) -> list[dict[str, Any]]:
    """Quartiles over COMPLETE trials; empty with fewer than two."""
    values = [record.values for record in content.records if record.values is not None]
    if len(values) < 2:
        return []
    columns = (
        (content.gate.words, [each.score for each in values], "{:.4f}"),
        ("training seconds", [each.seconds for each in values], ""),
        ("size (MB)", [each.size_mb for each in values], ""),
    )
    rows = []
    for name, column, form in columns:
        low, median, high = statistics.quantiles(column, n=4, method="inclusive")
        figures = (min(column), low, median, statistics.fmean(column), high, max(column))
        rows.append({"name": name, "figures": [form.format(each) if form else _three(each) for each in figures]})
    return rows


def _three(figure: float) -> str:
    """Three digits, or all those before the point."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def _configs(content: Content) -> dict[str, Any]:
    """The parameters of the front's first trials, a column each; those in which they differ are marked."""
    chosen = content.front[:MOST_CONFIGS]
    every = [whole_params(content, record) for record in chosen]
    names = list(dict.fromkeys(name for params in every for name in params))
    rows = []
    for name in names:
        cells = [_shown(params.get(name)) for params in every]
        rows.append({"name": name, "cells": cells, "differs": len(set(cells)) > 1})
    return {"numbers": [record.number for record in chosen], "rows": rows}


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _search_lines(content: Content) -> list[str]:
    """What pruning did, and what choosing among so many trials adds."""
    settings = content.settings
    summary = pruning_summary(
        content.records, content.gate, max_epochs=settings.training.max_epochs, seed=settings.study.seed
    )
    lines = [line.strip() for line in pruning_lines(summary)] if content.records else []
    pbo = (content.results.get("overfitting") or {}).get("pbo") or {}
    if pbo.get("value") is not None:
        units = pbo.get("units") or {"kind": "dates", "number": pbo.get("dates") or 0}  # of an earlier version
        lines.append(
            f"Probability of backtest overfitting: {pbo['value']:.2f} over {pbo['trials']:,} trials and"
            f" {units['number']:,} {units['kind']} of validation; 0.5 is what noise gives."
        )
    elif pbo.get("why"):
        lines.append(f"Probability of backtest overfitting: {pbo['why']}.")
    return lines


def _shares(content: Content) -> list[dict[str, Any]]:
    """Why trials were pruned, as bars."""
    counts = pruned_by(content.records)
    most = max(counts.values(), default=1)
    return [
        {"name": name, "text": f"{count:,}", "percent": 100 * count / most}
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def _convergence(content: Content) -> str:
    history = [Step(step.trials, step.hypervolume) for step in hypervolume_history(content.records, content.gate)]
    found = outlook(history, sum(record.finished for record in content.records))
    return "Not known yet: there are too few trials, or no front." if found is None else found.sentence


def _importances(content: Content) -> list[dict[str, Any]]:
    """The first parameters of each objective, as bars."""
    titles = {
        "score": content.gate.words,
        "seconds": "training time",
        "size_mb": "model size",
        "front": "reaching the front",
    }
    found = []
    for objective in OBJECTIVES_OF_IMPORTANCE:
        shares = list((content.importances.get(objective) or {}).items())[:8]
        most = max((share for _, share in shares), default=0.0)
        if most > 0:
            bars = [{"name": n, "text": f"{share:.0%}", "percent": 100 * share / most} for n, share in shares]
            found.append({"title": titles[objective], "bars": bars})
    return found


def _size_line(content: Content) -> str:
    """The smallest model that is about as good as the best."""
    front = [(record, record.values) for record in content.front if record.values is not None]
    if not front:
        return ""
    best, values = front[0]
    margin = content.gate.threshold - content.gate.chance
    near = [(record, each) for record, each in front if each.score >= values.score - margin]
    small, least = min(near, key=lambda pair: pair[1].size_mb)
    if small.number == best.number:
        return f"The best trial, {best.number} ({values.size_mb:.3g} MB), is also the smallest of those about as good as it."
    return (
        f"Trial {small.number} has {least.size_mb:.3g} MB, {values.size_mb / least.size_mb:.1f} times less than the best trial,"
        f" {best.number}, and reads {values.score - least.score:.4f} less: within {margin:.4f}, two standard errors of such a"
        " reading."
    )


def _problems(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the checks of the bars found, by symbol."""
    return [
        {"symbol": symbol, "text": f"{problem['severity']}: {problem['text']}"}
        for symbol, facts in (data.get("symbols") or {}).items()
        for problem in facts.get("problems") or []
    ]


def _splits(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each of training, validation and test."""
    names = data.get("class_names") or []
    rows = []
    for name, facts in (data.get("splits") or {}).items():
        shares = zip(names, facts.get("class_shares") or [], strict=False)
        rows.append(
            {
                "name": name,
                "windows": f"{facts['windows']:,}",
                "from": facts.get("first") or "",
                "to": facts.get("last") or "",
                "balance": ", ".join(f"{label} {share:.1%}" for label, share in shares),
            }
        )
    return rows


def _resume(content: Content, *, retrain: bool = False) -> str:
    """What goes on with the study; of a user's own DataLoaders only their program has them."""
    if content.data.get("source") == "DataLoaders":
        call = ".retrain_best_models()" if retrain else ".optimize()"
        return resume_in_python(content.save_dir, content.data) + call
    return resume_command(content.save_dir) + (" --retrain-best" if retrain else "")


def _symbols(data: Mapping[str, Any]) -> dict[str, Any]:
    """The windows of each symbol, of the first ones where there are many."""
    windows, about = data.get("windows") or {}, data.get("symbols") or {}
    rows = []
    for symbol, counts in list(windows.items())[:MOST_GROUPS]:
        facts = about.get(symbol)
        span = "" if facts is None else f"{facts['bars']:,} from {facts['first']} to {facts['last']}"
        rows.append({"symbol": symbol, "span": span, **counts})
    return {"rows": rows, "more": max(0, len(windows) - MOST_GROUPS)}


def _features(features: Any) -> str:
    return ", ".join(map(str, features)) if isinstance(features, list) else f"{features} inputs, without names"


def _purge(purge: Any) -> str:
    """How many bars are left out before a cut; of labels of unequal length there is one for each side."""
    return ", ".join(f"{name} {value}" for name, value in purge.items()) if isinstance(purge, dict) else str(purge)


def _reproduce(content: Content) -> dict[str, Any]:
    environment = content.results.get("environment") or {}
    packages: Mapping[str, str] = environment.get("packages") or {}
    facts: Sequence[tuple[str, Any]] = (
        ("Seed", content.settings.study.seed),
        ("Data, SHA-256", content.data.get("sha256")),
        ("Device", environment.get("device")),
        ("Python", environment.get("python")),
        ("Platform", environment.get("platform")),
        ("Packages", ", ".join(f"{name} {number}" for name, number in packages.items())),
        ("Results written", content.results.get("timestamp")),
    )
    return {
        "command": None
        if content.data.get("source") == "DataLoaders"
        else f"cnn-lstm-hyperopt run --config {shlex.quote(str(content.save_dir / CONFIG_FILE))} --save-dir again",
        "retrain": _resume(content, retrain=True),
        "facts": [(name, value) for name, value in facts if value not in (None, "")],
        "config": masked(dump_settings(content.settings)),
        "estimated": content.settings.study.time_objective == "estimated",
    }
