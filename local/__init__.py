"""Servers without containers, traffic generators and the demo. Knows the contract only."""
