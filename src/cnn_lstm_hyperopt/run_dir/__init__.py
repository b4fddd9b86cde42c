"""The directory of a run (``save_dir``): its file names, its lock, its log, and errors of writing into it."""
