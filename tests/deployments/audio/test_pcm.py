import io

import numpy as np
import soundfile

from deployments.audio.pcm import l16


def test_samples_are_rounded_and_kept_inside_full_scale() -> None:
    samples = np.array([0.0, 0.5, -1.0, 1.0, 2.0, -2.0, 0.6 / 32768, -0.4 / 32768], dtype="<f4")
    given = np.frombuffer(l16(samples.tobytes()), dtype=">i2")
    assert given.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 1, 0]


def test_other_programs_read_it() -> None:
    stereo = np.array([[0.25, -0.5], [0.125, 0.75]], dtype="<f4")
    read, _ = soundfile.read(
        io.BytesIO(l16(stereo.tobytes())),
        format="RAW",
        subtype="PCM_16",
        endian="BIG",
        samplerate=44_100,
        channels=2,
    )
    assert read.tolist() == stereo.tolist()
