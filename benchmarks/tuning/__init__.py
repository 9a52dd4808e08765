"""The tuner beside its peers: what is found, what asking costs. `make bench-tuning` runs all of it."""
