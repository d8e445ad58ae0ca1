"""The policy of a running worker: where it comes from, and how another one is put in its place."""
