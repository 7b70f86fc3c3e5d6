"""Segue on a cluster of several nodes, users at work, and processes killed among them by a seeded schedule.

`python -m tests.serve.chaos --seed N --kills K`.
"""
