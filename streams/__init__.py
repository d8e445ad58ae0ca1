"""The Faust application of each role: delivery, agents, process lifecycle."""
