"""Narrowing of a search space to the region of a study's good trials."""

import math
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_lstm_hyperopt.config import (
    Choices,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
    SearchSpace,
    Settings,
    dump_settings,
    load_settings,
)
from cnn_lstm_hyperopt.config.schema.base import as_path
from cnn_lstm_hyperopt.errors import ConfigError, RunError
from cnn_lstm_hyperopt.models.inputs import without_missing_inputs
from cnn_lstm_hyperopt.pareto import non_dominated_ranks
from cnn_lstm_hyperopt.run_dir.paths import (
    CONFIG_FILE,
    DATA_FILE,
    LOG_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    resume_command,
    resume_in_python,
)
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    StudyStorage,
    TrialRecord,
    database_in,
    read_description,
    stored_groups,
)
from cnn_lstm_hyperopt.space.domains import Scalar, domain_text
from cnn_lstm_hyperopt.utils.atomic_io import write_text
from cnn_lstm_hyperopt.utils.text import printable

GOOD_SHARE = 0.2
MIN_GOOD = 8
HEAD = "# Made by cnn-lstm-hyperopt narrow, which may replace it.\n"
"""First line of all files that this module writes. The module replaces only existing files with this first line."""
OWN_FILES = (STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE)
MARGIN = 0.1
"""Margin by which a narrowed range exceeds the good trials' range at each end, as a share of the good trials' range."""
MIN_SHARE = 0.25
"""Minimum length of a narrowed range, as a share of the old range's length. The length of a log range is the difference of the
bounds' logarithms."""
CHANCE_OF_NONE = 0.05
"""A choice that occurs in no good trial is dropped if the probability of this result is below this bound for an average choice
that was tried as often."""


def good_trials(records: Sequence[TrialRecord], skill: SkillThreshold, more: str) -> list[TrialRecord]:
    """Return the best fifth, at least 8, of the feasible trials above the skill threshold, by non-dominated rank.

    All trials of a rank are returned together, so more trials than a fifth may be returned.

    Args:
        records: trials of the study.
        skill: skill threshold of the study.
        more: part of the error message that says how to run more trials.

    Raises:
        RunError: fewer than 8 trials are above the skill threshold.
    """
    feasible = [record for record in records if record.feasible]
    skilled = [(record, record.values) for record in feasible if record.values and skill.passes(record.values.score)]
    if len(skilled) < MIN_GOOD:
        counted = "1 trial has" if len(skilled) == 1 else f"{len(skilled)} trials have"
        kept = "" if len(feasible) == len(records) else " and no broken constraint"
        raise RunError(
            f"{counted} a score clearly better than {skill.to_beat}{kept}, but {MIN_GOOD} are needed to narrow the space; run"
            f" more trials first: {more}",
            code="too-few-good-trials",
        )
    ranks = non_dominated_ranks([(-v.score, v.seconds, v.size_mb) for _, v in skilled])
    wanted = max(MIN_GOOD, math.ceil(GOOD_SHARE * len(skilled)))
    last_rank = sorted(ranks)[wanted - 1]
    return [record for (record, _), rank in zip(skilled, ranks, strict=True) if rank <= last_rank]


@dataclass(frozen=True)
class Narrowing:
    """Narrowing of one searched parameter.

    Attributes:
        name: name of the parameter.
        seen: number of good trials in which the parameter is active.
        old: domain in the study.
        new: narrowed domain, or ``old``.
        kept: reason why the domain is not narrowed; empty if the domain is narrowed.
    """

    name: str
    seen: int
    old: Domain
    new: Domain
    kept: str = ""


def narrowings(
    space: SearchSpace, records: Sequence[TrialRecord], good: Sequence[TrialRecord]
) -> tuple[Narrowing, ...]:
    """Narrow each searched parameter to the region of the good trials.

    A parameter that is active in fewer than 8 good trials keeps its domain (conditional parameters are rarely active). Numbers of
    attention heads keep their domains, too: for every width, the domain must contain a number that divides the width.

    - A range becomes the good trials' range, extended by a tenth of its length at each end. The new range is within the old range
      and at least a quarter as long. The length of a log range is the difference of the bounds' logarithms.
    - A choice is dropped if it was tried often but occurs in no good trial. "Often" means that an average choice, tried as often,
      would occur in no good trial with a probability below 5 %. A choice that was rarely tried stays.

    Args:
        space: search space of the study.
        records: trials of the study; COMPLETE and PRUNED trials show how often a choice was tried.
        good: the good trials of the study.
    """
    tried = [record for record in records if record.finished]
    return tuple(_narrowing(space, name, domain, tried, good) for name, domain in space.searched().items())


def _narrowing(
    space: SearchSpace, name: str, domain: Domain, tried: Sequence[TrialRecord], good: Sequence[TrialRecord]
) -> Narrowing:
    values = [record.params[name] for record in good if name in record.params]
    if space.specs[name].divides is not None:
        return Narrowing(name, len(values), domain, domain, "must divide every width")
    if len(values) < MIN_GOOD:
        return Narrowing(name, len(values), domain, domain, f"too few trials, {MIN_GOOD} needed")
    new = _narrow(domain, values, [record.params[name] for record in tried if name in record.params])
    kept = ""
    if new == domain:
        unseen = isinstance(domain, Choices) and not set(domain.values) <= set(values)
        kept = "other choices were tried too rarely" if unseen else "good trials are everywhere in it"
    return Narrowing(name, len(values), domain, new, kept)


def narrowed(space: SearchSpace, found: Sequence[Narrowing]) -> SearchSpace:
    """Return the space with the narrowed domains."""
    return replace(space, domains={**space.domains, **{each.name: each.new for each in found}})


def _narrow(domain: Domain, values: Sequence[Scalar], tried: Sequence[Scalar]) -> Domain:
    match domain:
        case Choices(choices):
            rate = min(1.0, len(values) / max(1, len(tried)))  # share of good trials
            kept = tuple(
                choice for choice in choices if choice in values or (1 - rate) ** tried.count(choice) >= CHANCE_OF_NONE
            )
            return Choices(kept) if len(kept) > 1 else Fixed(kept[0])
        case IntRange(low, high, log):
            lowest, highest = _widened(values, (low, high), log=log)
            # Rounding errors must not widen the range: 2.9999999 is 3.
            return IntRange(max(low, math.floor(lowest + 1e-9)), min(high, math.ceil(highest - 1e-9)), log)
        case FloatRange(low, high, log):
            lowest, highest = _widened(values, (low, high), log=log)
            return FloatRange(max(low, lowest), min(high, highest), log)
    return domain


def _widened(values: Sequence[Scalar], bounds: tuple[float, float], *, log: bool) -> tuple[float, float]:
    """Return the range of ``values`` plus margins, within ``bounds`` and at least :data:`MIN_SHARE` times their length."""
    scale, back = (math.log, math.exp) if log else (float, float)
    first, last = scale(bounds[0]), scale(bounds[1])
    numbers = [scale(float(value)) for value in values]
    low, high = min(numbers), max(numbers)
    margin = MARGIN * (high - low)
    low, high = max(first, low - margin), min(last, high + margin)
    lacking = MIN_SHARE * (last - first) - (high - low)
    if lacking > 0:
        low = min(max(first, low - lacking / 2), last - MIN_SHARE * (last - first))
        high = low + MIN_SHARE * (last - first)
    tolerance = 1e-9 * (last - first)  # for rounding
    return bounds[0] if low <= first + tolerance else back(low), bounds[1] if high >= last - tolerance else back(high)


def narrowing_lines(found: Sequence[Narrowing]) -> list[str]:
    """Return the lines of a table: parameter, number of good trials, old domain, and new domain or reason for no change."""
    rows = [("parameter", "trials", "old range", "new range")]
    for each in found:
        new = f"kept: {each.kept}" if each.kept else domain_text(each.new)
        rows.append((each.name, str(each.seen), domain_text(each.old), new))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{name:<{widths[0]}}  {seen:>{widths[1]}}  {old:<{widths[2]}}  {new}".rstrip() for name, seen, old, new in rows
    ]


@dataclass(frozen=True)
class Narrowed:
    """Result of :func:`narrow_study`.

    Attributes:
        path: path of the written settings file.
        good: number of good trials from which the space was narrowed.
        narrowings: the narrowing of each searched parameter.
        outside: sentences about trials that other programs added or changed.
    """

    path: Path
    good: int
    narrowings: tuple[Narrowing, ...]
    outside: list[str]


def narrow_study(save_dir: Path, output: Path) -> Narrowed:
    """Write the settings of a study, with the narrowed search space and a new study directory, to the file ``output``.

    Raises:
        SaveDirError: ``save_dir`` contains no study.
        ConfigError: ``output`` can't be written, is a file of the study, or is an existing file of another origin.
        RunError: too few trials are above the skill threshold.
    """
    output = _checked(save_dir, output)
    database = database_in(save_dir)
    storage = StudyStorage(database)
    try:
        skill = SkillThreshold.from_stored(storage.attribute("skill_gate"), database.shown)
        records, outside = storage.records(), storage.news()
    finally:
        storage.close()
    settings = load_settings(save_dir / CONFIG_FILE, environment={})
    if (groups := stored_groups(save_dir)) is not None:
        space = without_missing_inputs(settings.search_space, groups, raw=True)
        settings = settings.model_copy(update={"search_space": space})
    good = good_trials(records, skill, _more_trials(save_dir, settings))
    found = narrowings(settings.search_space, records, good)
    changed = {"search_space": narrowed(settings.search_space, found), "save_dir": _beside(save_dir)}
    text = HEAD + dump_settings(settings.model_copy(update=changed))
    try:
        write_text(output, text)
    except OSError as error:
        raise _not_written(output, error) from error
    return Narrowed(output, len(good), found, outside)


def _more_trials(save_dir: Path, settings: Settings) -> str:
    if settings.data.source == "loaders":
        return f"in Python, {resume_in_python(save_dir, read_description(save_dir))}.optimize(n_trials=N)"
    return f"{resume_command(save_dir)} --n-trials N"


def _beside(save_dir: Path) -> Path:
    """Return the directory of the narrowed study: a directory next to ``save_dir``, with ``_narrowed`` added to the name."""
    named = save_dir if save_dir.name not in ("", "..") else save_dir.resolve()
    return named.with_name(f"{named.name or 'study'}_narrowed")


def _checked(save_dir: Path, output: Path) -> Path:
    """Check the path ``output`` before any computation; return the path with ``~`` expanded."""
    try:
        place: Path = as_path(output, "file")
    except ValueError as fault:
        raise _wrong_output(str(fault), "invalid-path") from fault
    try:
        _require_free(save_dir.resolve(), place)
    except (OSError, RuntimeError) as error:  # RuntimeError: cyclic links
        raise _not_written(place, error) from error
    return place


def _require_free(save_dir: Path, output: Path) -> None:
    """Raise ConfigError if ``output`` is an existing file that this module did not write."""
    name = printable(str(output))
    if output.is_dir():
        raise _wrong_output(
            f"{name} is a directory; name a file in it, such as {output / 'narrowed.yaml'}", "output-is-directory"
        )
    if output.parent.exists() and not output.parent.is_dir():
        raise _wrong_output(f"{name} can't be written: {output.parent} is a file; name a directory", "parent-is-file")
    folder = output.parent.resolve()
    if folder == save_dir and output.name in OWN_FILES:
        raise _wrong_output(
            f"{name} is a file of the study; name another, such as narrowed.yaml", "output-is-study-file"
        )
    if folder.is_relative_to(save_dir) and (folder != save_dir or output.suffix != ".yaml"):
        raise _wrong_output(
            f"{name} is among the study's own files; name a new .yaml file, such as {save_dir / 'narrowed.yaml'}",
            "output-among-study-files",
        )
    try:
        mode = output.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a pipe or a device"
        raise _wrong_output(f"{name} is {kind}; name a new file, such as narrowed.yaml", "output-not-regular")
    with output.open("rb") as file:
        if file.read(len(HEAD)) != HEAD.encode():
            raise _wrong_output(
                f"{name} exists and was not written by narrow, so it is not replaced; name another file or remove it",
                "output-exists",
            )


def _not_written(output: Path, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return _wrong_output(
        f"{printable(str(output))} can't be written: {reason}; name another place", "output-not-writable"
    )


def _wrong_output(text: str, code: str) -> ConfigError:
    return ConfigError(f"--output {text}", field="--output", code=code)
