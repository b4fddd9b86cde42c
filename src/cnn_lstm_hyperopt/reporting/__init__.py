"""Reports for people: terminal, HTML page, status, notes for optuna-dashboard."""
