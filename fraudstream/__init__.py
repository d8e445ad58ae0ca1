"""The command line: wires every room together and is imported by none."""
