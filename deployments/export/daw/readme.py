"""What a producer reads first."""

from __future__ import annotations

from collections.abc import Sequence

from deployments.export.daw.session import Session


def readme_text(session: Session, licence: str, notes: Sequence[str] = ()) -> str:
    """Plain text; `notes` are sentences about this package, at its end."""
    tempo = session.tempo
    text = f"""{session.title or "Untitled"}

{session.seconds(session.samples):.3f} s, {session.rate_hz} Hz, {session.channels} channel(s), 24 bit; \
{tempo.bpm_of(tempo.pickup_beats if tempo.pickup_beats < len(tempo.times_s) - 1 else 0):.2f} bpm at its first beat.
Licence: {licence or "see provenance.json"}

line.dawproject  Bitwig Studio 5.0.9+, Studio One 6.5+, Cubase 14+: open it. Everything is inside.
line.rpp         Reaper: open it beside the folders.
tempo.mid        Any other workstation: import it first, with its tempo map, at bar 1.
mix.wav, stems/  All begin at the first sample and are equally long: drop them at bar 1.
                 Together the stems are the mix.
clips/           The line, cut at its seams; placed end to end they are the mix. Each file knows its place (BWF time
                 reference).
takes/           Each take as it was made, without the crossfades at its seams.
provenance.json  Model, seed and licence of each node. chain.json: the whole tree.

The tempo changes from beat to beat: leave stretching off. In Ableton Live turn off Preferences > Record/Warp/
Launch > "Auto-Warp Long Samples" before you drop the files in, or they drift.
Stems and takes are muted in the projects: the committed line plays.
"""
    return "\n".join([text, *notes, ""]) if notes else text
