"""Bars of prices, and the windows of bars on which networks are trained. A bar is processed in these steps:

1. ``sources`` reads the bar, from files through ``tables`` (text to columns of dates and numbers).
2. ``bars`` builds a frame of checked types; ``validation`` finds invalid and suspicious bars, which ``problems`` reports.
3. ``features``, ``own_features`` and ``labels`` compute inputs and labels from bars; ``lookahead`` checks that no input
uses later bars.
4. ``window_table`` cuts windows; ``splits`` assigns windows to training, validation, test and folds; ``scaling`` scales inputs.
5. ``dataset`` returns the windows of all symbols; ``dataloaders`` makes windows from a user's DataLoaders.
6. ``shared_arrays`` writes the file from which workers read the windows; ``training.train_step`` builds batches from
windows.
"""
