"""The directory of a run (``save_dir``): names, lock, log, and errors of writing."""
