// The microphone as a file: what the browser records, without its processing for speech.
export class Recorder {
  readonly #recorder: MediaRecorder;
  readonly #stream: MediaStream;
  readonly #pieces: Blob[] = [];
  readonly #timer: ReturnType<typeof setInterval>;

  private constructor(stream: MediaStream, onSecond: (seconds: number) => void) {
    this.#stream = stream;
    this.#recorder = new MediaRecorder(stream, { audioBitsPerSecond: 256_000 });
    this.#recorder.ondataavailable = ({ data }) => this.#pieces.push(data);
    this.#recorder.start(1000);
    const began = performance.now();
    this.#timer = setInterval(() => onSecond(Math.floor((performance.now() - began) / 1000)), 500);
  }

  /** Throws where there is no microphone, or none is allowed. */
  static async open(onSecond: (seconds: number) => void): Promise<Recorder> {
    const audio = {
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
      channelCount: 2,
    };
    return new Recorder(await navigator.mediaDevices.getUserMedia({ audio }), onSecond);
  }

  /** What was recorded, as a WAV of 16 bits: browsers write containers without a length, WAVs have one. */
  async stop(): Promise<Blob> {
    await new Promise((resolve) => {
      this.#recorder.onstop = resolve;
      this.#recorder.stop();
    });
    this.#end();
    const encoded = await new Blob(this.#pieces, { type: this.#recorder.mimeType }).arrayBuffer();
    const context = new OfflineAudioContext(2, 1, 48_000);
    return wav(await context.decodeAudioData(encoded));
  }

  cancel(): void {
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    this.#end();
  }

  #end(): void {
    clearInterval(this.#timer);
    for (const track of this.#stream.getTracks()) track.stop();
  }
}

type Sound = {
  sampleRate: number;
  numberOfChannels: number;
  length: number;
  getChannelData(channel: number): Float32Array;
};

/** A WAV of 16 bits. */
export function wav(sound: Sound): Blob {
  const { sampleRate, numberOfChannels: channels, length } = sound;
  const bytes = new DataView(new ArrayBuffer(44 + 2 * channels * length));
  const text = (at: number, value: string) => {
    for (let index = 0; index < value.length; index++) bytes.setUint8(at + index, value.charCodeAt(index));
  };
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * channels * length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, channels, true);
  bytes.setUint32(24, sampleRate, true);
  bytes.setUint32(28, 2 * channels * sampleRate, true);
  bytes.setUint16(32, 2 * channels, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, 2 * channels * length, true);
  for (let channel = 0; channel < channels; channel++) {
    const samples = sound.getChannelData(channel);
    for (let index = 0; index < length; index++) {
      const sample = Math.max(-1, Math.min(1, samples[index] as number));
      bytes.setInt16(44 + 2 * (index * channels + channel), Math.round(sample * 32_767), true);
    }
  }
  return new Blob([bytes.buffer], { type: "audio/wav" });
}
