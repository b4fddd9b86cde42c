"""The directory of a run (``save_dir``): names of files, lock, log, and errors of writing."""
