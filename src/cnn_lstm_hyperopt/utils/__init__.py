"""Small helper modules that do not depend on time series, such as those for atomic files and random streams."""
