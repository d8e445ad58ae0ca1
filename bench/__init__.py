"""Benchmarks: what a `score` process does with its time, beside a bare Kafka relay of the same run."""
