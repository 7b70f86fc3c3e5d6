// The audio thread: a Mixer, fed by messages.
import type { FromWorklet, ToWorklet } from "./messages.ts";
import { Mixer } from "./mixer.ts";

declare const sampleRate: number;
declare function registerProcessor(name: string, processor: unknown): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

const REPORT_BLOCKS = 8;

class LanesProcessor extends AudioWorkletProcessor {
  readonly #mixer = new Mixer(sampleRate);
  #blocks = 0;
  #seeks = 0;
  #told = "";

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<ToWorklet>) => this.#obey(data);
  }

  #obey(message: ToWorklet): void {
    const mixer = this.#mixer;
    switch (message.type) {
      case "lane":
        mixer.lane(message.id, message.start, message.end, message.gain);
        break;
      case "remove":
        mixer.remove(message.id);
        break;
      case "end":
        mixer.end(message.id, message.end);
        break;
      case "chunk":
        mixer.chunk(message.id, message.start, message.channels);
        break;
      case "keep":
        mixer.keep(message.id, message.from, message.to);
        break;
      case "gain":
        mixer.gain(message.id, message.gain, message.fadeSamples);
        break;
      case "trim":
        mixer.trim(message.id, message.from, message.gain);
        break;
      case "play":
        mixer.play(message.fade);
        break;
      case "pause":
        mixer.pause();
        break;
      case "seek":
        this.#seeks++;
        mixer.seek(message.position);
        break;
      case "cushion":
        mixer.cushion = message.samples;
        break;
      case "loop":
        mixer.loop = message.loop;
    }
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    this.#mixer.process(outputs[0] as Float32Array[]);
    const state = this.#mixer.state();
    const key = `${state.playing}${state.waiting}${state.ended}${this.#seeks}`;
    if (key !== this.#told || (state.playing && this.#blocks++ % REPORT_BLOCKS === 0)) {
      this.#told = key;
      this.port.postMessage({ ...state, seek: this.#seeks } satisfies FromWorklet);
    }
    return true;
  }
}

registerProcessor("segue-lanes", LanesProcessor);
