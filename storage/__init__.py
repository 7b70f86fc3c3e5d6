"""Everything durable: objects, documents changed by compare-and-swap, chains, jobs and audio blobs.

`storage.domain` is the pure domain (standard library only). The rest of this package keeps that domain in an
object store. Nothing here knows audio formats, models, HTTP or Ray. `FORMAT.md` specifies what is on disk.
"""
