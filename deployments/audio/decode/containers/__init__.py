"""One module for each kind of audio file: how it is known, and whether all of it is there.

Every module has `matches(head)`, which knows the format by the first bytes, and `examine(file)`, which reads
the structure of the whole file without decoding it and returns a `Layout`. `deployments.audio.decode.formats` has a
row for each.
"""
