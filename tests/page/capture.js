// Keeps what the page's mixer puts out: added by the tests beside the page's own worklet.
class Capture extends AudioWorkletProcessor {
  process(inputs) {
    const channels = inputs[0].map((channel) => channel.slice());
    if (channels.length > 0) this.port.postMessage(channels);
    return true;
  }
}
registerProcessor("capture", Capture);
