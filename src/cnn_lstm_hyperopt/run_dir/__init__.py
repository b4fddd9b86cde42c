"""The directory of a run (``save_dir``): names, lock, log, and what is said when it cannot be written."""
