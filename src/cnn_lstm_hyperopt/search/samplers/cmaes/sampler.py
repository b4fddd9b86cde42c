"""CatCMA with margin on uncrowded hypervolume improvement, with restarts; all of its state is replayed from the history."""

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
"""How often a proposal is drawn anew that was tried before or is beyond the limits."""
FRONT_STARTS = 0.5
"""Share of restarts that begin at a member of the front."""


class CmaEsSampler(Sampler):
    """Draws from a distribution that follows what enlarges the front.

    The package's own multi-objective form takes two objectives only. Each trial is stored with its draw, and the state nowhere: a
    study that is resumed, or worked on by several processes, replays the draws of finished trials, generation by generation.
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
        """See the base class."""
        rows = list(request.history)
        if len(rows) < self.n_startup or not len(self._variables):
            return self._random.propose(request)
        run = self._replayed(rows).run
        run.reseed(stream_seed(self.seed, request.number, f"proposal {request.attempt}"))
        tried = [row.params for row in rows] + list(request.running)
        draw, params = run.ask()
        for _ in range(REDRAWS):
            if params not in tried and self.plan.allows(params):
                break
            draw, params = run.ask()
        return Proposal(params, draw.note)

    def _replayed(self, rows: list[Observation]) -> "Replay":
        """Goes on from what was told last, unless some of it has changed: what is expected of pruned trials does."""
        replay = self._replay
        if replay is None or rows[: len(replay.rows)] != replay.rows:
            replay = self._replay = Replay(self.plan, self._variables, rows[: self.n_startup])
        for row in rows[len(replay.rows) :]:
            replay.take(row)
        return replay


class Replay:
    """The search distribution when it has been told of ``rows``: a function of them and of the study's seed.

    A run is told its finished draws, a generation at a time. With several workers some were drawn from an earlier one: they
    count for the one at hand when they finish. All other trials, leftovers of an earlier run among them, only tell of the front.

    Args:
        begin: rows that are known before the first run starts.
    """

    def __init__(self, plan: StudyPlan, variables: Variables, begin: Sequence[Observation]) -> None:
        self._seed, self._variables = plan.seed, variables
        self._archive = Archive(plan.skill)
        for row in begin:
            self._archive.add(row)
        self.rows = list(begin)
        self.run = self._start(0)
        self._last: Run | None = None
        self._pending: list[tuple[Draw, Observation]] = []

    def take(self, row: Observation) -> None:
        """Goes on by one finished trial."""
        self.rows.append(row)
        draw = self._variables.draw(row.note)
        if draw is not None:
            self._follow(draw)
        if draw is None or draw.run != self.run.index:
            self._archive.add(row)
            return
        self._pending.append((draw, row))
        if len(self._pending) == self.run.population:
            # Against the front before all of them, or the first of two equals would make the second worthless.
            self.run.tell([d for d, _ in self._pending], self._archive.fitness([r for _, r in self._pending]))
            self._settle()
            if self.run.over:
                self._begin(self.run.index + 1)

    def _follow(self, draw: Draw) -> None:
        """Lets runs end where they did: losses of pruned trials may have been others then, and with them the time to end."""
        if draw.run > self.run.index:
            self._begin(draw.run)
            return
        last, unused = self._last, self.run.generation == 0 and not self._pending
        if last is not None and unused and draw.run == last.index and draw.generation >= last.generation:
            self._last, self.run = None, last

    def _begin(self, index: int) -> None:
        self._settle()
        self._last, self.run = self.run, self._start(index)

    def _settle(self) -> None:
        for _, row in self._pending:
            self._archive.add(row)
        self._pending = []

    def _start(self, index: int) -> Run:
        """The first run starts from the whole useful front (or the middle of the space), others from one member or anywhere."""
        generator = stream(self._seed, index, "cmaes run")
        front = self._variables.encoding.vectors([row.params for row in self._archive.useful_front()])
        mean = generator.random(len(self._variables.numbers))
        if index > 0 and len(front):
            from_member = generator.random() < FRONT_STARTS
            front = front[generator.integers(len(front), size=int(from_member))]
        if index == 0 or len(front):
            mean = self._variables.mean(front)
        return Run(self._variables, index, mean, self._variables.shares(front))
