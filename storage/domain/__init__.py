"""The domain: chains, nodes, their lawful changes, jobs and events.

Pure: standard library only, no I/O, no clock of its own. Every change is a function from an old value to a
new one, so it may be applied again to a newer chain when a compare-and-swap loses its race.
"""
