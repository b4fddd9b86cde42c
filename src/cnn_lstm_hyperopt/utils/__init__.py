"""Small helpers that do not depend on time series: atomic files, child processes, random streams, secrets."""
