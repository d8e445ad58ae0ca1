"""Transactions, exact sliding windows, the feature catalogue and the online feature store."""
