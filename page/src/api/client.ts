// Requests to the server: the key, problems as errors, one Idempotency-Key for each intention.
import type { Problem } from "./schema.ts";

const KEY_ITEM = "segue.key";

/** An answer that is an error, or no answer at all (`status` 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly retryAfterS: number | null;
  readonly problem: Problem | null;

  constructor(status: number, problem: Problem | null, retryAfterS: number | null = null) {
    super(problem?.detail ?? `status ${status}`);
    this.status = status;
    this.problem = problem;
    this.code = problem?.type.split(":").pop() ?? "";
    this.detail = problem?.detail ?? "";
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request will have the same answer. */
  get isFinal(): boolean {
    return this.status >= 400 && this.status < 500 && ![408, 425, 429].includes(this.status);
  }
}

export type Query = Record<string, string | number | undefined>;
export type Asked = { signal?: AbortSignal; headers?: Record<string, string> };

export class Client {
  /** The folder of the page, which is the server's root, behind whatever prefix. */
  readonly base: string;
  /** Called when the server wants a key, or another one. */
  onUnauthorized: () => void = () => {};
  #key: string | null;
  readonly #storage: Storage | null;

  constructor(base: string, storage: Storage | null = null) {
    this.base = base;
    this.#storage = storage;
    this.#key = storage?.getItem(KEY_ITEM) ?? null;
  }

  get hasKey(): boolean {
    return this.#key !== null;
  }

  /** Kept for the session of this tab, in no URL. */
  useKey(key: string | null): void {
    this.#key = key;
    if (key === null) this.#storage?.removeItem(KEY_ITEM);
    else this.#storage?.setItem(KEY_ITEM, key);
  }

  url(path: string, query: Query = {}): string {
    const url = new URL(path.replace(/^\//, ""), this.base);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    return url.href;
  }

  /** The answer, if its status is below 400. Throws ApiError. */
  async request(path: string, init: RequestInit & { query?: Query } = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#key !== null) headers.set("Authorization", `Bearer ${this.#key}`);
    let answer: Response;
    try {
      answer = await fetch(this.url(path, init.query), { ...init, headers });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(0, null);
    }
    if (answer.ok) return answer;
    const error = await asError(answer);
    if (error.status === 401) this.onUnauthorized();
    throw error;
  }

  async get<T>(path: string, query: Query = {}, asked: Asked = {}): Promise<T> {
    return (await (await this.request(path, { ...asked, query })).json()) as T;
  }

  /** `key`: the Idempotency-Key of work that may be asked for again after a lost answer. */
  async send<T>(method: string, path: string, body?: unknown, key?: string, asked: Asked = {}): Promise<T> {
    const headers: Record<string, string> = { ...asked.headers };
    if (key !== undefined) headers["Idempotency-Key"] = key;
    const form = body instanceof FormData;
    if (body !== undefined && !form) headers["Content-Type"] = "application/json";
    const init: RequestInit = { ...asked, method, headers };
    if (body !== undefined) init.body = form ? body : JSON.stringify(body);
    const answer = await this.request(path, init);
    return (answer.status === 204 ? undefined : await answer.json()) as T;
  }

  post<T>(path: string, body?: unknown, key?: string): Promise<T> {
    return this.send<T>("POST", path, body, key);
  }
}

async function asError(answer: Response): Promise<ApiError> {
  const retry = Number(answer.headers.get("Retry-After"));
  const problem = await answer
    .json()
    .then((body) => body as Problem)
    .catch(() => null);
  return new ApiError(answer.status, problem, retry > 0 ? retry : null);
}
