"""Each tuner behind one pair of functions: ask for a configuration, tell its loss (NaN: the trial failed)."""
