"""Benchmarks of the running service; `README.md` says what each of them measures."""
