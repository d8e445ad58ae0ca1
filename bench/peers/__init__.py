"""The same job in other frameworks, through the same harness: speed, right windows, what a kill -9 costs."""
