"""Each role put together from the settings, in a module of its own: what a role does not need, it does not import."""
