"""Parts of training: labels, split, trees, search, calibration, baselines, guards, and what a report tells."""
