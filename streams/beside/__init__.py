"""What the `index` role does beside its outcomes: labels, dead letters, samples of the operation."""
