"""A chapter: an undisturbed run and two stories of the same study. Its seed says which, and when what is killed."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from torture.kills import SETUPS, Reference, Story, aims, environment_with, settings_of, tell, undisturbed

STORIES = 2
ATTEMPTS = 5
"""Seeds of a study that are tried until one has a front, without which there is neither confirmation nor retraining."""


def write_chapter(seed: int, folder: Path, cache: Path, until: float) -> list[Story]:
    """Tells its stories; those without a fault are removed from the disk.

    Args:
        seed: says which setup it is, and draws all else.
        folder: made for it.
        cache: of this machine's speed.
        until: ``time.time()`` after which no further story begins.
    """
    setup, random = list(SETUPS)[seed % len(SETUPS)], Random(seed)
    environment = environment_with(cache)
    reference, study_seed = _reference(setup, random, folder, environment)
    stories: list[Story] = []
    for place in range(1, STORIES + 1):
        if stories and (stories[-1].found or time.time() > until):
            break
        story_folder = folder / f"story_{place}"
        settings = settings_of(setup, study_seed, story_folder)
        story = tell(
            f"seed {seed}, story {place} ({setup})",
            settings,
            aims(random, random.randint(6, 9), settings["workers"]),
            story_folder,
            random=random,
            environment=environment,
            reference=reference,
            resumed_once_more=place == 1,
        )
        if not story.found:
            shutil.rmtree(story_folder)
        stories.append(story)
    if not any(story.found for story in stories):
        shutil.rmtree(folder)
    return stories


def measure_speed(folder: Path, cache: Path) -> None:
    """Has this machine's speed measured where it is not known, so that all runs go by one."""
    folder.mkdir(parents=True)
    config = folder / "config.yaml"
    config.write_text("study: {portfolio: false}\ndata: {source: synthetic}\n", encoding="utf-8")
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "run", "--config", str(config), "--dry-run", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment_with(cache))


def _reference(setup: str, random: Random, folder: Path, environment: dict[str, str]) -> tuple[Reference, int]:
    """An undisturbed run that has a front, and its seed."""
    for attempt in range(1, ATTEMPTS + 1):
        study_seed, place = random.randrange(10_000), folder / f"undisturbed_{attempt}"
        try:
            return undisturbed(settings_of(setup, study_seed, place), place, environment), study_seed
        except RuntimeError as error:
            if "no trial has learnt" not in str(error) or attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")
