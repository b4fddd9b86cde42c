"""Main flow of a run: open a study, search, confirm the best trials, retrain and test their models, and write the results."""
