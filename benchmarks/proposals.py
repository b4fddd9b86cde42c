"""CPU time of one proposal of the sampler ``gp`` after a given number of random trials of a problem.

    python benchmarks/proposals.py --problem benchmarks/problems/analytic.py --after 100,1000,5000

*Proposal* is the median of 25 proposals (smallest to largest) that use stored hyperparameters. *With a fit* is the proposal that
fits new hyperparameters, which happens whenever the number of trials has grown by a tenth.
"""

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from cnn_lstm_hyperopt.search import Proposal, ProposalRequest
from cnn_lstm_hyperopt.search.observations import Observation, losses
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, Sampler, random_configuration
from machine import printed
from problems import Problem, load_problem
from search import plan_of, usual_setup

PROPOSALS = 25


def random_history(problem: Problem, sampler: Sampler, count: int) -> list[Observation]:
    """Return the observations of random trials, with the measured values of the last epoch."""
    history = []
    for number in range(count):
        params = random_configuration(problem.space, 1, number)
        _, accuracy, seconds, size_mb = deque(problem.evaluate(params, number), maxlen=1)[0]
        history.append(Observation(number, sampler.searched(params), losses(accuracy, seconds, size_mb)))
    return history


def timed(sampler: Sampler, number: int, history: Sequence[Observation]) -> tuple[Proposal, float]:
    """Return a proposal and the milliseconds of CPU time that it took."""
    begun = time.process_time()
    proposal = sampler.propose(ProposalRequest(number, history))
    return proposal, 1000 * (time.process_time() - begun)


def table(file: Path, counts: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each number of trials of a problem file."""
    problem = load_problem(file)
    yield "| trials | proposal, ms | with a fit, ms |"
    yield "|---|---|---|"
    for count in counts:
        sampler = SAMPLERS["gp"](plan_of(problem, "gp", "none", 1, usual_setup(problem, count)))
        history = random_history(problem, sampler, count)
        proposal, fit = timed(sampler, count, history)
        history[-1] = history[-1]._replace(note=proposal.note)
        timed(sampler, count, history)  # converts the history
        took = [timed(sampler, count + k, history)[1] for k in range(PROPOSALS)]
        yield f"| {count:,} | {statistics.median(took):.1f} ({min(took):.1f} to {max(took):.1f}) | {fit:.0f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", type=Path, required=True, metavar="FILE", help="a problem file")
    parser.add_argument("--after", default="100,1000,5000", metavar="100,1000,5000", help="numbers of earlier trials")
    given = parser.parse_args(arguments)
    return printed("", table(given.problem, [int(count) for count in given.after.split(",")]))


if __name__ == "__main__":
    sys.exit(main())
