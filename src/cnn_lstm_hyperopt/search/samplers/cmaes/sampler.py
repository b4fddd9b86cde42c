"""CatCMA with margin and restarts, which maximises the uncrowded hypervolume improvement.

The sampler's state is computed from the history of finished trials.
"""

from collections.abc import Sequence

from cnn_lstm_hyperopt.search.observations import Observation
from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.cmaes.catcma import Draw, Run, Variables
from cnn_lstm_hyperopt.search.samplers.cmaes.uhvi import Archive
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.utils.rng import stream, stream_seed

REDRAWS = 20
"""Maximum number of additional draws to find a configuration that is new and within the limits."""
FRONT_STARTS = 0.5
"""Probability that a restart begins at a trial of the front. All other restarts begin at a random point."""


class CmaEsSampler(Sampler):
    """Sampler that draws configurations from a distribution. The distribution is updated towards draws that improve the front.

    The multi-objective variant in the `cmaes` package supports two objectives only. Each trial is stored with its draw; the state
    of the distribution is not stored. Resumed studies and parallel workers compute the state from the draws of finished trials,
    generation by generation.
    """

    name, place = "cmaes", 1
    description = "CatCMA with margin: an evolution strategy for numbers and choices"
    default_startup = 24

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._random = RandomSampler(plan)
        self._variables = Variables(Encoding(plan.space))
        self._replay: Replay | None = None

    def propose(self, request: ProposalRequest) -> Proposal:
        rows = list(request.history)
        if len(rows) < self.n_startup or not len(self._variables):
            return self._random.propose(request)
        run = self._replayed(rows).run
        run.reseed(stream_seed(self.seed, request.number, request.draws))
        tried = [row.params for row in rows] + list(request.running)
        draw, params = run.ask()
        for _ in range(REDRAWS):
            if params not in tried and self.plan.allows(params):
                break
            draw, params = run.ask()
        return Proposal(params, draw.note)

    def _replayed(self, rows: list[Observation]) -> "Replay":
        """Return the search distribution after the observations ``rows``.

        The last distribution is updated with the new observations. If the losses of an earlier observation have changed, the
        distribution is computed anew. The losses of pruned trials change, because they are predictions.
        """
        replay = self._replay
        if replay is None or rows[: len(replay.rows)] != replay.rows:
            replay = self._replay = Replay(self.plan, self._variables, rows[: self.n_startup])
        for row in rows[len(replay.rows) :]:
            replay.add_row(row)
        return replay


class Replay:
    """The search distribution after a sequence of observations, computed from these observations and the seed of the study.

    A run updates its distribution whenever a generation is complete, which means that the generation's number of draws have
    finished as trials. With several workers, draws of an earlier generation may finish late. These draws count for the current
    generation. All other trials, including late draws of an earlier run, change only the front.

    Args:
        initial: observations of the trials before the first run.
    """

    def __init__(self, plan: StudyPlan, variables: Variables, initial: Sequence[Observation]) -> None:
        self._seed, self._variables = plan.seed, variables
        self._archive = Archive(plan.skill)
        for row in initial:
            self._archive.add(row)
        self.rows = list(initial)
        self.run = self._start(0)
        self._last: Run | None = None
        self._pending: list[tuple[Draw, Observation]] = []

    def add_row(self, row: Observation) -> None:
        """Update the front with a finished trial; after a full generation, update also the distribution."""
        self.rows.append(row)
        draw = self._variables.draw(row.note)
        if draw is not None:
            self._switch_run(draw)
        if draw is None or draw.run != self.run.index:
            self._archive.add(row)
            return
        self._pending.append((draw, row))
        if len(self._pending) == self.run.population:
            # Fitness is relative to the front before this generation: otherwise the second of two equal points would have none.
            self.run.tell([d for d, _ in self._pending], self._archive.fitness([r for _, r in self._pending]))
            self._archive_pending()
            if self.run.finished:
                self._restart(self.run.index + 1)

    def _switch_run(self, draw: Draw) -> None:
        """Switch to the run in which a trial was drawn.

        The predicted losses of pruned trials change during the search. Therefore, a stored draw may belong to another run than
        the run that is computed from the present predictions.
        """
        if draw.run > self.run.index:
            self._restart(draw.run)
            return
        last, unused = self._last, self.run.generation == 0 and not self._pending
        if last is not None and unused and draw.run == last.index and draw.generation >= last.generation:
            self._last, self.run = None, last

    def _restart(self, index: int) -> None:
        self._archive_pending()
        self._last, self.run = self.run, self._start(index)

    def _archive_pending(self) -> None:
        for _, row in self._pending:
            self._archive.add(row)
        self._pending = []

    def _start(self, index: int) -> Run:
        """Start a run.

        The first run starts at the mean of the front's useful trials, or in the middle of the space if no trial is useful. A
        later run starts at a random useful trial of the front or at a random point.
        """
        generator = stream(self._seed, index, "cmaes run")
        front = self._variables.encoding.vectors([row.params for row in self._archive.useful_front()])
        mean = generator.random(len(self._variables.numbers))
        if index > 0 and len(front):
            from_member = generator.random() < FRONT_STARTS
            front = front[generator.integers(len(front), size=int(from_member))]
        if index == 0 or len(front):
            mean = self._variables.mean(front)
        return Run(self._variables, index, mean, self._variables.shares(front))
