"""Reports of a run that users read: terminal output, HTML page, status, and notes for optuna-dashboard."""
