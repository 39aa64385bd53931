import type { Answers, Message, RecordedRequest, Rule, Script, When } from "./script.js";

export * from "./script.js";

/** What a fake pretends. */
export interface Pretence {
  /** The release of shimmy; default: the newest that is imitated. */
  release?: string;
  /** Its build: `default`, `cpu-only`. */
  build?: string;
  /** A machine with GPUs to pretend. */
  gpu?: string;
  /** Names of models that are there, without a file; default: `placeholder`. */
  models?: string[];
  /** The API key that the server asks for; default: none. */
  apiKey?: string;
  /** The token of the control route; `start` makes one where none is given. */
  token?: string;
}

export interface StartOptions extends Pretence {
  /** The server's own script: a script, or the path of a file with one. Faults of its life, too. */
  script?: Script | string;
  /** The port on 127.0.0.1; default: 0, a free one. */
  port?: number;
  /** Further arguments of `serve`. */
  args?: string[];
  /** Further environment; wins over everything else. */
  env?: { [name: string]: string };
  /** The Python to use; default: `FAKE_SHIMMY_PYTHON`, or the first that is found. */
  python?: string;
  /** Milliseconds until it must listen; default: 30,000. */
  timeout?: number;
}

/** A request that the server got, and what became of it. */
export interface JournalEntry extends RecordedRequest {
  /** The body, where it is JSON. */
  json?: any;
}

/** Tells a running fake what to answer, and asks it what it was asked; for one session. */
export class Control {
  /** `session`: the API key whose requests are meant; default: those that have none. */
  constructor(url: string, token: string, session?: string);
  readonly url: string;
  readonly token: string;
  readonly session: string;

  /** Begin anew with this script: no rule used, nothing in the journal. For the start of a test. */
  script(script?: Script): Promise<void>;
  /** Ask one more rule, after the others; gives its number. */
  add(rule: Rule): Promise<number>;
  /** Answer with this text, or these tokens. */
  reply(reply: string | string[], more?: Omit<Rule, "reply">): Promise<number>;
  /** Fail with this status, or in this way. */
  fail(fail: NonNullable<Rule["fail"]>, more?: Omit<Rule, "fail">): Promise<number>;
  /** What was asked since the session began, the oldest first. */
  requests(): Promise<JournalEntry[]>;
  /** Wait until that many such requests were answered; gives all. Rejects after `seconds` (5). */
  waitFor(when?: When, options?: { count?: number; seconds?: number }): Promise<JournalEntry[]>;
  /** Any message of the control route; rejects with the reason of a refusal. */
  ask<Op extends Message["op"]>(message: Extract<Message, { op: Op }>): Promise<Answers[Op]>;
  /** Close the connections that it keeps open; they open again when it is used. */
  close(): void;
}

/** How a process ended. */
export interface Ended {
  code: number | null;
  /** Its name, such as `SIGTERM`. */
  signal: string | null;
}

/** A running server. It ends with this process, or with `stop`. */
export class FakeShimmy extends Control {
  private constructor();
  /** `url` and `/v1`: the base URL of OpenAI clients. */
  readonly baseUrl: string;
  readonly port: number;
  readonly pid: number;
  /** The end of what it wrote to stdout and stderr. */
  readonly log: string;
  /** Fulfilled when it has ended. */
  readonly exited: Promise<Ended>;
  /** End it; also when it has ended. */
  stop(): Promise<Ended>;
}

/**
 * Start a server; when the promise is fulfilled, it answers. Rejects when there is no Python, when it
 * ends before it listens, and when that takes too long.
 */
export function start(options?: StartOptions): Promise<FakeShimmy>;

/**
 * The environment for a fake that the application starts itself. `script` is the path of a file.
 */
export function variables(options?: Pretence & { script?: string }): { [name: string]: string };

/**
 * Put an executable into a folder that is the fake under another name, `shimmy` by default; gives its
 * path. On Windows it is a `.cmd`, which only a shell starts.
 */
export function install(folder: string, name?: string): Promise<string>;

/** The single file that Python runs. */
export const pyz: string;

/** The path of a Python that runs it. Throws where there is none. */
export function findPython(): string;
