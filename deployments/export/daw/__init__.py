"""A line as a package that a digital audio workstation opens."""
