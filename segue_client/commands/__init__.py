"""The commands of `segue`, a module a group: each adds its parsers and turns arguments into calls."""
