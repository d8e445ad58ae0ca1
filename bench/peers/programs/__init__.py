"""The job as users of each framework would write it; each program runs in an environment of its own."""
