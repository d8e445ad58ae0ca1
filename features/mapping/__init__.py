"""Foreign data sets: what their columns mean, said in a small YAML file, and their rows as a history of ours."""
