import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../api/client.ts";
import { fieldMessage, sentence } from "./problems.ts";

const problem = (status: number, code: string, detail: string, more = {}) => ({
  type: `urn:segue:problem:${code}`,
  title: code,
  status,
  detail,
  request_id: "r",
  ...more,
});

test("errors are told in a musician's words", () => {
  assert.match(sentence(new ApiError(0, null)), /cannot be reached/);
  assert.match(
    sentence(new ApiError(415, problem(415, "no-audio", "a playlist"))),
    /not a sound.*A playlist\./,
  );
  assert.match(sentence(new ApiError(429, problem(429, "full", "x"), 30)), /queue is full.*30 s/);
  assert.match(
    sentence(new ApiError(413, problem(413, "large", "x", { limit_bytes: 100_000_000 }))),
    /100 MB/,
  );
  assert.match(sentence(new ApiError(502, null)), /busy/);
  assert.equal(
    sentence(new ApiError(409, problem(409, "conflict", "the node is pending"))),
    "The node is pending.",
  );
});

test("the message of a field is found by its name", () => {
  const errors = [{ field: "body.seed", message: "too large" }];
  const error = new ApiError(422, problem(422, "invalid", "x", { errors }));
  assert.equal(fieldMessage(error, "seed"), "too large");
  assert.equal(fieldMessage(error, "prompt"), null);
});
