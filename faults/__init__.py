"""The fault matrix: pull every plug under load, then compare every outcome, history and document with an oracle."""
