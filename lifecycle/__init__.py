"""The life of a model: registry, promotion, comparison of champion and challenger, drift, retraining."""
