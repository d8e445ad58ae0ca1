"""Rules: conditions on a transaction that decide it, and lists that they look fields up in."""
