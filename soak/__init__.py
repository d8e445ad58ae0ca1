"""A long run under steady load: does anything grow that should not?"""
