"""A session as DAWproject 1.0 (github.com/bitwig/dawproject): the XML documents, without their ZIP.

The plainest dialect, which every reader takes: times in beats, audio in seconds and never stretched, tempo held
from beat to beat. The schema's sequences are strict: Lanes, Markers, TempoAutomation, TimeSignatureAutomation in an
arrangement; Mute, Pan, Volume in a channel.
"""

from __future__ import annotations

from itertools import count
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from deployments.export.daw.session import Session, SessionClip, SessionTrack

_Ids = count


def project_xml(session: Session) -> bytes:
    """`project.xml`, UTF-8."""
    ids = _Ids(1)
    tempo = session.tempo
    project = Element("Project", version="1.0")
    SubElement(project, "Application", name="Segue", version="1.0")
    transport = SubElement(project, "Transport")
    tempo_id, meter_id = f"id{next(ids)}", f"id{next(ids)}"
    SubElement(transport, "Tempo", id=tempo_id, name="Tempo", unit="bpm", value=_number(tempo.bpm_of(0)))
    SubElement(
        transport,
        "TimeSignature",
        id=meter_id,
        numerator=str(tempo.pickup_beats or tempo.beats_per_bar),
        denominator="4",
    )
    structure = SubElement(project, "Structure")
    master_id = f"id{next(ids)}"
    arrangement_lanes = Element("Lanes", id=f"id{next(ids)}", timeUnit="beats")
    groups: dict[str, tuple[Element, str]] = {}
    for track in session.tracks:
        parent, destination = structure, master_id
        if track.group:
            if track.group not in groups:
                groups[track.group] = _group(structure, ids, track, session, master_id)
            parent, destination = groups[track.group]
        _track(parent, arrangement_lanes, ids, track, session, destination)
    master = SubElement(
        structure, "Track", id=f"id{next(ids)}", name="Master", contentType="audio notes", loaded="true"
    )
    _channel(master, ids, session, role="master", identity=master_id)
    arrangement = SubElement(project, "Arrangement", id=f"id{next(ids)}")
    arrangement.append(arrangement_lanes)
    _markers(arrangement, ids, session)
    _automation(arrangement, ids, session, tempo_id, meter_id)
    SubElement(project, "Scenes")
    return _document(project)


def metadata_xml(title: str, licence: str = "", comment: str = "") -> bytes:
    """`metadata.xml`: its elements are a strict sequence too."""
    metadata = Element("MetaData")
    for name, text in (("Title", title), ("Copyright", licence), ("Comment", comment)):
        if text:
            SubElement(metadata, name).text = _plain(text)
    return _document(metadata)


def _group(
    structure: Element, ids: _Ids[int], track: SessionTrack, session: Session, master_id: str
) -> tuple[Element, str]:
    group = SubElement(
        structure, "Track", id=f"id{next(ids)}", name=_plain(track.group), contentType="tracks", loaded="true"
    )
    identity = f"id{next(ids)}"
    _channel(group, ids, session, role="submix", identity=identity, destination=master_id, muted=track.muted)
    return group, identity


def _track(
    parent: Element, lanes: Element, ids: _Ids[int], track: SessionTrack, session: Session, destination: str
) -> None:
    identity = f"id{next(ids)}"
    element = SubElement(
        parent, "Track", id=identity, name=_plain(track.name), contentType="audio", loaded="true"
    )
    muted = track.muted and not track.group
    _channel(
        element, ids, session, role="regular", identity=f"id{next(ids)}", destination=destination, muted=muted
    )
    lane = SubElement(lanes, "Lanes", id=f"id{next(ids)}", track=identity)
    clips = SubElement(lane, "Clips", id=f"id{next(ids)}")
    for clip in track.clips:
        _clip(clips, ids, clip, session)


def _channel(
    track: Element,
    ids: _Ids[int],
    session: Session,
    *,
    role: str,
    identity: str,
    destination: str = "",
    muted: bool = False,
) -> None:
    attributes = {"id": identity, "role": role, "audioChannels": str(session.channels), "solo": "false"}
    if destination:
        attributes["destination"] = destination
    channel = SubElement(track, "Channel", attributes)
    SubElement(channel, "Mute", id=f"id{next(ids)}", name="Mute", value=str(muted).lower())
    SubElement(
        channel, "Pan", id=f"id{next(ids)}", name="Pan", unit="normalized", value="0.5", min="0.0", max="1.0"
    )
    SubElement(
        channel,
        "Volume",
        id=f"id{next(ids)}",
        name="Volume",
        unit="linear",
        value="1.0",
        min="0.0",
        max="2.0",
    )


def _clip(clips: Element, ids: _Ids[int], clip: SessionClip, session: Session) -> None:
    start, end = session.beats(clip.at), session.beats(clip.at + clip.samples)
    duration_s = _number(session.seconds(clip.samples))
    element = SubElement(
        clips,
        "Clip",
        name=_plain(clip.name),
        time=_number(start),
        duration=_number(end - start),
        contentTimeUnit="seconds",
        playStart="0.0",
        playStop=duration_s,
        fadeTimeUnit="seconds",
        fadeInTime="0.0",
        fadeOutTime="0.0",
    )
    audio = SubElement(
        element,
        "Audio",
        id=f"id{next(ids)}",
        timeUnit="seconds",
        duration=duration_s,
        channels=str(session.channels),
        sampleRate=str(session.rate_hz),
    )
    SubElement(audio, "File", path=clip.path, external="false")


def _markers(arrangement: Element, ids: _Ids[int], session: Session) -> None:
    markers = SubElement(arrangement, "Markers", id=f"id{next(ids)}", timeUnit="beats")
    for at, name in session.markers:
        SubElement(markers, "Marker", time=_number(session.beats(at)), name=_plain(name))


def _automation(arrangement: Element, ids: _Ids[int], session: Session, tempo_id: str, meter_id: str) -> None:
    tempo = session.tempo
    points = SubElement(arrangement, "TempoAutomation", id=f"id{next(ids)}", timeUnit="beats", unit="bpm")
    SubElement(points, "Target", parameter=tempo_id)
    for beat in range(len(tempo.times_s) - 1):
        SubElement(
            points, "RealPoint", time=_number(beat), value=_number(tempo.bpm_of(beat)), interpolation="hold"
        )
    meters = SubElement(arrangement, "TimeSignatureAutomation", id=f"id{next(ids)}", timeUnit="beats")
    SubElement(meters, "Target", parameter=meter_id)
    bars = [(0, tempo.pickup_beats), (tempo.pickup_beats, tempo.beats_per_bar)]
    for beat, beats in bars if tempo.pickup_beats else bars[1:]:
        SubElement(meters, "TimeSignaturePoint", time=_number(beat), numerator=str(beats), denominator="4")


def _number(value: float) -> str:
    """The shortest text that reads back as the same double, never with an exponent."""
    text = repr(float(value))
    return text if "e" not in text else f"{value:.20f}"


def _plain(text: str) -> str:
    """What XML 1.0 can hold."""
    return "".join(
        c
        for c in text
        if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
    )


def _document(root: Element) -> bytes:
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
