"""Measures what a learned constraint does to a search, on problems of the family in ``problems/family.py``.

Each problem gets a latency that is known only after a trial: the exponential of a weighted sum of the parameters. The parameters
that make a model accurate also make it slow, so the best configurations without the constraint are infeasible. The bound is a
quantile of the latencies of random configurations.

``python benchmarks/constraints.py --members 2 4 6 8 10 --seeds 3`` compares a search that knows the constraint with the same
search that does not and whose infeasible trials are removed afterwards. It prints the share of feasible trials among the last 50,
and the hypervolume of the true values of the feasible trials, in (accuracy, ln seconds, ln MB), as a share of the largest one of
the member. Odd members are for tuning, even members for reports.
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.pareto import hypervolume
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    SkillThreshold,
    Study,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    finish_order,
    optimise,
    with_fixed,
)
from problems import Array, Params
from problems.family import COST_ERROR, Member, luck_of

NAME = "latency"
FEASIBLE = 0.3
"""Share of random configurations that keep the bound, unless ``--feasible`` gives another."""
NOISE = 0.03
"""Standard deviation of ln of a measured latency."""
LAST = 50


class Constrained:
    """A member of the family with a latency that a search can only measure."""

    def __init__(self, seed: int, feasible: float) -> None:
        self.member = Member(seed)
        draw = np.random.default_rng([28, seed])
        n = len(self.member.names)
        others = draw.exponential(1.0, n) * (draw.random(n) < 0.3) * draw.choice([-1.0, 1.0], n)
        self.weights = draw.uniform(1.0, 2.0) * np.sign(self.member.relation) * self.member.capacity + 0.3 * others
        self.scale = draw.uniform(0.8, 2.0)
        self.choices = np.array(["choices" in said for said in self.member.raw.values()])
        u = draw.random((4000, n))
        latencies = self._latency(self.member._snapped(u))
        self.bound = float(np.quantile(latencies, feasible))
        self.corner = self.member.truth_of(u)[latencies <= self.bound].max(axis=0)

    def _latency(self, x: Array) -> Array:
        """Return the latency of positions, ``(rows,)``; choices count with their index, divided by the largest."""
        sizes = np.array([len(said.get("choices", (0, 1))) - 1 for said in self.member.raw.values()])
        return np.asarray(np.exp(self.scale * (np.nan_to_num(x / np.maximum(sizes, 1), nan=0.5) @ self.weights)))

    def evaluate(self, params: Params, seed: int) -> Iterator[tuple[float, float, float, float, Mapping[str, float]]]:
        """Yield measurements as the member does, with the measured latency."""
        latency = float(self._latency(self.member._position(params))[0])
        measured = latency * math.exp(NOISE * luck_of(("latency", seed), params).standard_normal())
        for epoch in self.member.evaluate(params, seed):
            yield *epoch, {NAME: measured}

    def cost(self, params: Params) -> Cost:
        """Return the predicted cost, as ``member.cost`` does, which also computes the accuracy and takes ten times as long."""
        member, x = self.member, self.member._position(params)[0]
        filled = np.nan_to_num(x, nan=0.5)
        size = float(filled @ member.capacity)
        extra = np.where(np.isnan(x), 0.0, member.extra * np.where(self.choices, filled == 0, filled)).sum()
        log_seconds = (
            math.log(member.base_seconds) + member.cost_range * size + member.tail * max(size - 0.75, 0.0) + extra
        )
        error = COST_ERROR * luck_of("cost", params).standard_normal()
        return Cost(
            math.exp(log_seconds + error), math.exp(member.memory_range * (float(filled @ member.memory) - 0.5))
        )

    def volume(self, configurations: list[Params]) -> float:
        """Return the hypervolume of the true values of configurations, up to the largest costs of feasible random ones."""
        _, seconds, size_mb = self.corner
        rows = [self.member.truth(params) for params in configurations]
        losses = [(-a, math.log(s), math.log(m)) for a, s, m in rows]
        return hypervolume(losses, (-self.member.chance, math.log(seconds), math.log(size_mb))) if losses else 0.0


@lru_cache(maxsize=4)
def constrained(seed: int, feasible: float) -> Constrained:
    """Return a problem; the last ones are kept."""
    return Constrained(seed, feasible)


@dataclass(frozen=True)
class Case:
    """One search.

    Attributes:
        member: number of the problem.
        knows: whether the search knows the constraint.
    """

    member: int
    seed: int
    sampler: str
    pruner: str
    knows: bool
    n_trials: int
    feasible: float


@dataclass(frozen=True)
class Found:
    """Result of a search: share of feasible trials among the last, hypervolume of all feasible trials, seconds it took."""

    last: float
    volume: float
    n_feasible: int
    took: float


def search(case: Case) -> Found:
    """Run a search and measure it."""
    problem = constrained(case.member, case.feasible)
    member, begun = problem.member, time.perf_counter()
    plan = StudyPlan(
        space=member.space,
        sampler=SamplerSettings(type=case.sampler),
        pruner=PrunerSettings(type=case.pruner),
        seed=case.seed,
        n_trials=case.n_trials,
        max_epochs=member.max_epochs,
        limits=Limits(),
        skill=SkillThreshold(member.chance, member.n_val),
        cost=problem.cost,
        constraints={NAME: problem.bound} if case.knows else {},
    )
    measured: dict[tuple[tuple[str, object], ...], float] = {}

    def evaluate(params: Params, seed: int) -> Iterator[tuple[float, float, float, float, Mapping[str, float]]]:
        for each in problem.evaluate(params, seed):
            measured[_key(params)] = each[-1][NAME]
            yield each

    study = Study(StudyStorage.in_memory("constraints"), plan)
    optimise(study, evaluate)
    complete = [record for record in finish_order(study.records()) if record.values is not None]

    def full(record: TrialRecord) -> Params:
        return with_fixed(plan.space, record.params)

    kept = [record for record in complete if measured[_key(full(record))] <= problem.bound]
    numbers = {record.number for record in kept}
    last = [record.number in numbers for record in complete[-LAST:]]
    volume = problem.volume([full(record) for record in kept])
    return Found(statistics.fmean(last), volume, len(kept), time.perf_counter() - begun)


def _key(params: Params) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(params.items()))


def main() -> None:
    """Print a row for each member, and the median over members."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[2, 4, 6, 8, 10, 12])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--sampler", default="gp")
    parser.add_argument("--pruner", default="none")
    parser.add_argument("--feasible", type=float, default=FEASIBLE)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    cases = [
        Case(member, seed, given.sampler, given.pruner, knows, given.trials, given.feasible)
        for member in given.members
        for seed in range(given.seeds)
        for knows in (True, False)
    ]
    with ProcessPoolExecutor(given.jobs) as pool:
        found = dict(zip(cases, pool.map(search, cases), strict=True))
    print(
        "member  parameters  feasible of the last 50: with (lowest)  filtered   hypervolume: with  filtered  higher in"
    )
    shares, higher, gains = [], 0, []
    for member in given.members:
        own = [(found[case], found[_without(case)]) for case in cases if case.member == member and case.knows]
        last, without = [a.last for a, _ in own], [b.last for _, b in own]
        largest = max(each.volume for pair in own for each in pair)
        volumes = [(a.volume / largest, b.volume / largest) for a, b in own]
        wins = sum(a > b for a, b in volumes)
        shares, higher, gains = shares + last, higher + wins, gains + [a - b for a, b in volumes]
        n = len(constrained(member, given.feasible).member.names)
        ours, theirs = (statistics.fmean(each) for each in zip(*volumes, strict=True))
        print(
            f"{member:6d}  {n:10d}  {statistics.fmean(last):29.0%} ({min(last):4.0%})  {statistics.fmean(without):8.0%}"
            f"  {ours:18.3f}  {theirs:8.3f}  {wins} of {len(own)}",
            flush=True,
        )
    print(
        f"all: {statistics.fmean(shares):.1%} feasible of the last {LAST}; hypervolume with - filtered: mean"
        f" {statistics.fmean(gains):+.3f}, median {statistics.median(gains):+.3f}, higher in {higher} of {len(gains)} searches"
    )


def _without(case: Case) -> Case:
    return Case(**{**vars(case), "knows": False})


if __name__ == "__main__":
    main()
