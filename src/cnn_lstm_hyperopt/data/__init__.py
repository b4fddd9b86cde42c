"""Bars, and what networks are trained on. The path of one bar:

1. ``sources`` reads it, from files through ``tables`` (text to columns of dates and numbers),
2. ``bars`` makes a typed frame of it; ``validation`` says what can't be true, and ``problems`` how that is told,
3. ``features``, ``own_features`` and ``labels`` are computed of it; ``lookahead`` proves that no input knows the future,
4. ``window_table`` cuts windows, ``splits`` assigns them to training, validation, test and folds, ``scaling`` scales them,
5. ``dataset`` holds all of it as ``windows``; those of a user's DataLoaders come from ``dataloaders``,
6. ``shared_arrays`` is the file from which workers read them; ``training.train_step`` makes batches of them.
"""
