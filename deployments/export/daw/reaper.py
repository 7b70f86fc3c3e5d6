"""A session as a Reaper project: plain text, times in seconds."""

from __future__ import annotations

from deployments.export.daw.session import Session, SessionClip, SessionTrack


def reaper_project(session: Session) -> str:
    """`.rpp` text: a tempo point on each beat, markers, tracks; items without fades, so that clips butt-join."""
    tempo = session.tempo
    lines = ['<REAPER_PROJECT 0.1 "6.0/linux64" 0', f"  SAMPLERATE {session.rate_hz} 0 0"]
    lines += [f"  TEMPO {tempo.bpm_of(0):.10f} {tempo.beats_per_bar} 4", "  <TEMPOENVEX", "    ACT 1"]
    for beat in range(len(tempo.times_s) - 1):
        # Shape 1: held until the next point. The bars begin after the pickup.
        meter = ""
        if beat == 0 and tempo.pickup_beats:
            meter = f" {0x40000 + min(255, tempo.pickup_beats)}"
        elif beat == tempo.pickup_beats:
            meter = f" {0x40000 + tempo.beats_per_bar}"
        lines.append(f"    PT {tempo.times_s[beat]:.12f} {tempo.bpm_of(beat):.10f} 1{meter}")
    lines.append("  >")
    for number, (at, name) in enumerate(session.markers, start=1):
        lines.append(f"  MARKER {number} {session.seconds(at):.12f} {_quoted(name)} 0")
    for track in session.tracks:
        lines += _track(session, track)
    return "\n".join([*lines, ">", ""])


def _track(session: Session, track: SessionTrack) -> list[str]:
    lines = ["  <TRACK", f"    NAME {_quoted(track.name)}", f"    MUTESOLO {int(track.muted)} 0 0"]
    for clip in track.clips:
        lines += _item(session, clip)
    return [*lines, "  >"]


def _item(session: Session, clip: SessionClip) -> list[str]:
    return [
        "    <ITEM",
        f"      POSITION {session.seconds(clip.at):.12f}",
        f"      LENGTH {session.seconds(clip.samples):.12f}",
        "      LOOP 0",
        "      FADEIN 0 0 0",
        "      FADEOUT 0 0 0",
        f"      NAME {_quoted(clip.name)}",
        "      <SOURCE WAVE",
        f"        FILE {_quoted(clip.path)}",
        "      >",
        "    >",
    ]


def _quoted(text: str) -> str:
    """Reaper has no escapes: a text takes the quotation mark that is not in it."""
    one_line = " ".join("".join(c if c >= " " else " " for c in text).split())
    for mark in "\"'`":
        if mark not in one_line:
            return f"{mark}{one_line}{mark}"
    return '"' + one_line.replace('"', "'") + '"'
