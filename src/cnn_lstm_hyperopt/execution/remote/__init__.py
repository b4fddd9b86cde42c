"""A study that one process has and workers of other machines use: what a Ray run consists of."""
