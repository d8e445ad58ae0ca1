"""The `alert` role: outcomes of `processed_transactions` to people and programs, as docs/alerts.md says."""
