"""What does the work: pure audio, engines, export, stages, the job worker, and the thin Serve classes."""
