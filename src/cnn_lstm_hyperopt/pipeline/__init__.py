"""The main flow: open a study, search, confirm, retrain, test once, write the results."""
