"""Slow, obvious oracles of the aggregates and the traffic to try them on; nothing here imports the product."""
