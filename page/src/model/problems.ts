// Errors in words that a musician understands.
import { ApiError } from "../api/client.ts";
import { words } from "../words.ts";

const MB = 1_000_000;

export function sentence(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  const { status, detail, code, retryAfterS, problem } = error;
  const own = words.problems;
  switch (status) {
    case 0:
      return own.unreachable;
    case 401:
      return words.key.wrong;
    case 403:
      return detail ? upper(detail) : own.notAllowed;
    case 404:
      return problem === null || code === "not-found" ? own.missing : upper(detail);
    case 405:
      return own.old;
    case 410:
      return own.gone;
    case 413: {
      const limit = (problem as { limit_bytes?: number } | null)?.limit_bytes;
      return own.tooLarge(limit === undefined ? null : Math.round(limit / MB));
    }
    case 415:
      return detail ? `${own.notAudio} ${upper(detail)}` : own.notAudio;
    case 429:
      return own.full(retryAfterS);
    case 500:
      return code.endsWith("damaged") ? own.damaged : detail || own.unknown(status);
    case 502:
    case 503:
    case 504:
      return own.busy;
    case 507:
      return own.noSpace;
    default:
      return detail ? upper(detail) : own.unknown(status);
  }
}

/** The message of a field that a 422 names. */
export function fieldMessage(error: unknown, field: string): string | null {
  const errors = error instanceof ApiError ? error.problem?.errors : undefined;
  return errors?.find((each) => each.field.split(".").pop() === field)?.message ?? null;
}

const upper = (text: string) => {
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
};
