"""Reading and writing of the trials of a study, a whole trial at a time.

This package imports none of its modules, because Optuna and SQLAlchemy take half a second to import.
"""
