"""What all benchmarks share: child processes, the machine, tables, reports."""
