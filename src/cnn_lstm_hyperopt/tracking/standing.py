"""How much of a study MLflow has, as the follower tells it line by line to the run."""

import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Standing:
    """What is written so far.

    Attributes:
        trials: runs of trials that are whole.
        of_trials: trials that have ended.
        models: runs of retrained models that are whole.
        of_models: models that there are.
        problem: what keeps it from going on, in a few words; empty: nothing does.
        whole: all that there was when the run said its end is written.
        experiment_id: of the runs' experiment in the store; empty before it is known.
    """

    trials: int = 0
    of_trials: int = 0
    models: int = 0
    of_models: int = 0
    problem: str = ""
    whole: bool = False
    experiment_id: str = ""

    def line(self) -> str:
        """For the pipe; :meth:`read` is its inverse."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> "Standing | None":
        """None: the line is something else, such as half of one."""
        try:
            raw = json.loads(line)
        except ValueError:
            return None
        known = isinstance(raw, dict) and set(raw) == {field.name for field in fields(cls)}
        return cls(**raw) if known else None

    def missing(self, ended: int) -> str:
        """``12 of 30 trials and 2 of 2 models``: what is not written of a study with so many ended trials; empty: nothing."""
        lacking, of_models = ended - self.trials, self.of_models - self.models
        parts = [f"{lacking} of {ended} trials"] if lacking > 0 else []
        parts += [f"{of_models} of {self.of_models} retrained models"] if of_models > 0 else []
        return " and ".join(parts)

    def lacking(self, ended: int) -> str:
        """The beginning of a sentence that goes on with "in MLflow": ``12 of 30 trials are not``."""
        missing = self.missing(ended)
        return f"{missing} are not" if missing else "the study's end is not"
