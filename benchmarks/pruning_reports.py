"""Is what a study says about its pruning true? Seconds saved, false prunes, and whether pruning pays.

    python benchmarks/pruning_reports.py --half report --members 20 --curves ../shared/curves --trials 300

runs ``gp`` with the pruner ``front`` on the problems of ``testbed.py``, with and without predicted costs, and compares the
statistics of each study with the truth, which the problem knows:

- *seconds saved*: is the sum that the pruned trials would have taken, with the luck that they had, in the study's interval?
- *false prunes*: is the share of pruned trials that would be on the measured front, had they not been pruned, in the study's
  interval?
- *verdict*: is the lost share of the hypervolume (true values) below the saved share of the seconds where the audit says that
  pruning pays, and above it where the audit says that it harms?

A statement that a study does not make ("unknown", no verdict) is neither right nor wrong. A run is right if none of its
statements is wrong.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from cnn_lstm_hyperopt.search import Study, StudyStorage
from cnn_lstm_hyperopt.search.pruning_audit import Verdict
from cnn_lstm_hyperopt.search.pruning_stats import Estimate, PruningSummary, Unknown, pruning_summary
from cnn_lstm_hyperopt.search.simulate import optimise
from machine import printed
from problems import Problem
from problems.runs import Measured, Row, Ruler, Run
from search import plan_of, rows_of, usual_setup
from testbed import add_problem_arguments, problems_of

SAMPLER, PRUNER = "gp", "front"
CLAIMS = ("seconds saved", "false prunes", "verdict")


class Judged(NamedTuple):
    """One study: its statements and the truth.

    Attributes:
        saved: true share of the seconds that pruning saved.
        right: whether each of :data:`CLAIMS` is right; None: the study does not make this statement.
        texts: each statement beside the truth.
    """

    saved: float
    right: tuple[bool | None, ...]
    texts: tuple[str, ...]


def judged(problem: Problem, seed: int, trials: int, *, priced: bool) -> Judged:
    """Run a study and compare its pruning statistics with the truth."""
    setup = replace(usual_setup(problem, trials), priced=priced)
    study = Study(StudyStorage.in_memory("reports"), plan_of(problem, SAMPLER, PRUNER, seed, setup))
    optimise(study, problem.evaluate, workers=1)
    plan = study.plan
    summary = pruning_summary(study.records(), plan.skill, max_epochs=plan.max_epochs, seed=plan.seed, pruner=PRUNER)
    return judgement(problem, rows_of(study), summary)


def judgement(problem: Problem, rows: Sequence[Row], summary: PruningSummary) -> Judged:
    """Compare the statistics of a study with the truth about its trials."""
    measured = Measured(problem, Run(list(rows)), Ruler.of(problem, []))
    left, false = measured.seconds_left, measured.falsely_pruned
    saved = left / (left + sum(row.seconds for row in rows))
    lost = measured.regret or 0.0
    claims = (
        _within(summary.seconds_saved, None if false is None else left, ".0f"),
        _within(summary.false_prunes.share, false, ".3f"),
        _verdict(summary, lost, saved),
    )
    return Judged(saved, tuple(each[0] for each in claims), tuple(each[1] for each in claims))


def _within(said: Estimate | Unknown, truth: float | None, form: str) -> tuple[bool | None, str]:
    """Return whether the interval has the truth, and both as text. ``truth`` is None if the study pruned no trial."""
    if isinstance(said, Unknown) or truth is None:
        return None, "–"
    return (
        said.low <= truth <= said.high,
        f"{said.value:{form}} ({said.low:{form}} to {said.high:{form}}), {truth:{form}}",
    )


def _verdict(summary: PruningSummary, lost: float, saved: float) -> tuple[bool | None, str]:
    """Return whether the verdict of the audit is right; None without pruned trials or a verdict."""
    verdict = summary.audit.verdict
    text = f"{verdict.value}; lost {lost:.1%}, saved {saved:.0%}"
    if verdict is Verdict.UNKNOWN or not summary.ended_by_pruner:
        return None, text
    return (lost < saved) is (verdict is Verdict.PAYS), text


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each study, then the sums."""
    yield "| problem | costs | seed | seconds saved: said, true | false prunes: said, true | verdict; true | wrong |"
    yield "|---" * 7 + "|"
    found = []
    for make in problems_of(given.half, given.members, given.curves, not given.no_curves):
        problem = make()
        for priced in (True, False):
            for seed in given.seeds:
                one = judged(problem, seed, given.trials, priced=priced)
                found.append(one)
                wrong = ", ".join(name for name, right in zip(CLAIMS, one.right, strict=True) if right is False)
                costs = "predicted" if priced else "not predicted"
                yield f"| {problem.path.name} | {costs} | {seed} | {' | '.join(one.texts)} | {wrong or 'none'} |"
    yield ""
    for place, name in enumerate(CLAIMS):
        made = [right for one in found if (right := one.right[place]) is not None]
        yield f"{name}: {sum(made)} of {len(made)} right ({len(found) - len(made)} not stated)"
    right = sum(False not in one.right for one in found)
    yield f"runs without a wrong statement: {right} of {len(found)} ({right / len(found):.0%})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_problem_arguments(parser)
    parser.add_argument("--trials", type=int, default=300, help="trials of a study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    given = parser.parse_args(arguments)
    return printed(f"; {SAMPLER} + {PRUNER}, {given.trials} trials, half {given.half}", table(given))


if __name__ == "__main__":
    sys.exit(main())
