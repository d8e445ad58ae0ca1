"""The analysts' review screen: a queue of flagged transactions, what is known of each, and their answers."""
