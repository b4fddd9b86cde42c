"""A process that runs cheap trials with the sampler ``gp``, beside others on the same study.

Run as a module: ``python -m builders.sharing PLACE NAME TRIALS``, where PLACE is an SQLite file or the URL of a server. The last
line is the largest number of finished and running trials that the process has seen.
"""

import sys
import time
from pathlib import Path

from filelock import FileLock

from builders.records import CHEAP
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, NoTrial, PostgresServer, State, Study, StudyPlan, StudyStorage, Values

STARTUP = 6


def plan(n_trials: int) -> StudyPlan:
    """The same plan in every process."""
    return CHEAP.plan({"type": "gp", "n_startup_trials": STARTUP}, n_trials=n_trials)


def finish(study: Study, assignment: Assignment) -> None:
    """Report the last epoch of a trial and store its result."""
    *_, (epoch, score, seconds, size_mb) = CHEAP.evaluate(assignment.params, assignment.seeded_as)
    study.report(assignment, ProgressReport(epoch, seconds, seconds, score, 1 - score, last=True))
    study.finish(assignment, State.COMPLETE, Values(score, seconds, size_mb), {"seconds": seconds})


def work(place: str, name: str, n_trials: int) -> int:
    """Run trials until the study has all of them."""
    on_server = "://" in place
    storage = StudyStorage(PostgresServer(place, name) if on_server else Path(place))
    claim = None if on_server else FileLock(f"{place}.lock")
    study, most = Study(storage, plan(n_trials), claim=claim, worker=None if on_server else name), 0
    while (assignment := study.next_assignment()) is not NoTrial.ENOUGH:
        if not isinstance(assignment, Assignment):
            time.sleep(0.01)
            continue
        most = max(most, sum(each.finished or each.state is State.RUNNING for each in study.records()))
        finish(study, assignment)
    storage.close()
    return most


if __name__ == "__main__":
    print(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
