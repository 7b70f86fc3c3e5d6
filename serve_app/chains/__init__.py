"""Chains, nodes and takes over HTTP: uploads, branching, deciding."""
