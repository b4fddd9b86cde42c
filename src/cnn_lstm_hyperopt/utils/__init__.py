"""Small helpers that know nothing of time series: whole files, child processes, seeded streams, secrets."""
