"""What a role tells of itself: health, metrics, stages, lines that were not logged."""
