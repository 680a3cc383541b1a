"""The tests: each file mirrors a file of `meter/`; what several share stands at this level."""
