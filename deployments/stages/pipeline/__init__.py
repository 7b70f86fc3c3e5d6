"""The stages of `/process`: each reads and writes files in one workspace."""
