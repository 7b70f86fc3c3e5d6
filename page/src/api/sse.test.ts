import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser, follow, type ServerEvent } from "./sse.ts";

const TEXT =
  'retry: 250\n\n: heartbeat\n\nevent: node\ndata: {"a":1}\n\nid: 7\nevent: chain\ndata: one\ndata: two\r\n\r\n';

test("events come out the same, however the text is cut", () => {
  for (let cut = 0; cut <= TEXT.length; cut++) {
    const parser = new EventParser();
    const found = [...parser.push(TEXT.slice(0, cut)), ...parser.push(TEXT.slice(cut))];
    const seen = found.filter((event) => event.data !== "");
    assert.deepEqual(
      seen.map(({ event, data }) => [event, data]),
      [
        ["node", '{"a":1}'],
        ["chain", "one\ntwo"],
      ],
      `cut at ${cut}`,
    );
    assert.equal(seen[1]?.id, "7");
    assert.equal(parser.retryMs, 250);
  }
});

const answer = (text: string) => new Response(text);

test("a stream that ends or breaks is resumed after its last event", async () => {
  const asked: (string | null)[] = [];
  const heard: ServerEvent[] = [];
  const states: string[] = [];
  const control = new AbortController();
  const answers = [
    () => answer("id: 1\nevent: a\ndata: x\n\n"),
    () => {
      throw new TypeError("no network");
    },
    () => answer("id: 2\nevent: b\ndata: y\n\n"),
  ];
  await follow(
    {
      open: async (lastId) => {
        asked.push(lastId);
        const next = answers.shift();
        if (next === undefined) {
          control.abort();
          throw new TypeError("over");
        }
        return next();
      },
      onEvent: (event) => heard.push(event),
      onState: (state) => states.push(state),
      isFinal: () => false,
      wait: async () => {},
    },
    control.signal,
  );
  assert.deepEqual(asked, [null, "1", "1", "2"]);
  assert.deepEqual(
    heard.map(({ event }) => event),
    ["a", "b"],
  );
  assert.deepEqual(states, ["live", "lost", "live"]);
});

test("what is final is not tried again", async () => {
  const failure = new Error("401");
  await assert.rejects(
    follow(
      {
        open: async () => {
          throw failure;
        },
        onEvent: () => {},
        onState: () => {},
        isFinal: (error) => error === failure,
        wait: async () => {},
      },
      new AbortController().signal,
    ),
    failure,
  );
});
