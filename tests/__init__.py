"""Tests, by room; `oracles` holds the slow and obvious implementations that the fast ones are held against."""
