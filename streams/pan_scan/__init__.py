"""Look for card numbers in everything that the pipeline writes: what must not be there is found, not assumed."""
