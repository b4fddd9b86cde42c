"""The main flow: open a study, search, confirm the best trials, retrain them, test them once, write the results."""
