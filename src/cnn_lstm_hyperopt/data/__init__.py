"""Bars and the windows that networks are trained on. The path of one bar:

1. ``sources`` reads it, from files through ``tables`` (text to columns of dates and numbers).
2. ``bars`` builds a typed frame; ``validation`` finds invalid and suspicious bars, which ``problems`` reports.
3. ``features``, ``own_features`` and ``labels`` are computed from it; ``lookahead`` checks that no input uses later bars.
4. ``window_table`` cuts windows, ``splits`` assigns them to training, validation, test and folds, ``scaling`` scales them.
5. ``dataset`` has the result as ``windows``; those of a user's DataLoaders come from ``dataloaders``.
6. ``shared_arrays`` is the file from which workers read them; ``training.train_step`` builds batches from them.
"""
