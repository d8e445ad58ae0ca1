"""Make anew what was lost, look at what was refused: everything that reads topics again."""
