// Generated from the tables of fake_shimmy by `python -m docs.generate`.

/** A whole script. */
export interface Script {
  /** random seed for chance and jitter */
  seed?: number;
  /** a request to generate that no rule matches is refused with status 400 */
  strict?: boolean;
  /** the timing of answers that have none */
  latency?: Latency;
  /** seconds that each model's first request takes longer, while it loads */
  load_time?: number;
  /** one generation at a time, as on the real one's engine */
  serialise?: boolean;
  /** tried in order; the first that matches answers */
  rules?: Array<Rule>;
  /** faults for the life of the process */
  life?: Life;
}

/** When tokens are sent, counted from the complete request. All zero: at once. */
export interface Latency {
  /** seconds to the first token */
  first_token?: number;
  /** seconds between two tokens */
  per_token?: number;
  /** each of these times is longer or shorter by up to so many seconds */
  jitter?: number;
  /** another way to say per_token */
  tokens_per_second?: number;
}

/** Answers for the requests that match, in order; see ``answers``. */
export interface Rule {
  /** how reports call it */
  name?: string;
  /** which requests it is for; default: all */
  when?: When;
  /** how many requests it answers; default: all that match, or with answers: one for each, in order */
  times?: number;
  /** for how long after its first use it applies */
  seconds?: number;
  /** the share of matching requests that it takes */
  chance?: number;
  /** false: it also answers requests that shimmy refuses, for an unknown model, no messages, a content that is null; default: true, unless a rule of the test gives an answer that no shimmy gives */
  validate?: boolean;
  /** several answers, used in order and then again */
  answers?: Array<Answer>;
  /** the text, or the list of its tokens */
  reply?: string | Array<string>;
  /** instead of a reply: a status, one of the real one's failures by name, or an object with status, body, headers */
  fail?: Failure | "model_not_found" | "load_failed" | "generation_failed" | "unprocessable" | "bad_json" | "unsupported_media_type" | "too_large" | number;
  /** calls of the client's tools */
  tool_calls?: Array<ToolCall>;
  /** what the model thinks first (reasoning_content) */
  reasoning?: string | Array<string>;
  /** instead of a reply: the words of a refusal */
  refusal?: string | Array<string>;
  /** instead of a reply: several, for n above 1 */
  choices?: Array<string | Array<string>>;
  /** true, or the logarithm of each token's probability */
  logprobs?: boolean | Array<number>;
  /** default: stop, or tool_calls */
  finish_reason?: string;
  /** the numbers of tokens, as the route's usage object has them */
  usage?: { [name: string]: unknown };
  /** a vector for each input, or a number of dimensions: the same vector for the same text */
  embeddings?: number | Array<Array<number>>;
  /** the whole stream, event by event; nothing else is sent */
  events?: Array<string | Event>;
  /** further headers; one that the fake sends is replaced */
  headers?: { [name: string]: string };
  /** what the request must be like that gets this answer, as in when; a string: a part of its last message. Another request is refused, and the test fails */
  expect?: string | When;
  /** its timing, instead of the script's */
  latency?: Latency;
  /** what goes wrong on the way */
  faults?: Array<Fault>;
}

/** Which requests a rule is for; of several conditions all must hold, none is all requests. */
export interface When {
  /** the last user message, or the prompt; a string: a part of it */
  user?: string | Matcher;
  /** the system or developer message; a string: a part of it */
  system?: string | Matcher;
  /** the newest result of a tool; a string: a part of it; equals: the text, or the JSON value that it is */
  tool?: string | Matcher;
  /** the last message, of any role; a string: a part of it */
  last?: string | Matcher;
  /** the model's name; a string: the whole name */
  model?: string | Matcher;
  /** the endpoint, by name */
  endpoint?: "chat" | "completions" | "messages" | "generate" | "websocket" | "responses" | "embeddings";
  /** the path; a string: the whole path */
  path?: string | Matcher;
  /** headers by name; a string: a part of it */
  headers?: { [name: string]: string | Matcher };
  /** values of the body by path, such as messages[0].role or temperature; anything but an object: the whole value */
  json?: { [name: string]: Matcher | unknown };
}

/** What a text or value must be; of several conditions all must hold. */
export interface Matcher {
  /** a part of the text, upper and lower case as they are */
  contains?: string;
  /** a regular expression (Python's) that is found in the text */
  matches?: string;
  /** the whole value */
  equals?: unknown;
}

/** What one request gets. Without a ``reply``, what the model says anyway. */
export interface Answer {
  /** the text, or the list of its tokens */
  reply?: string | Array<string>;
  /** instead of a reply: a status, one of the real one's failures by name, or an object with status, body, headers */
  fail?: Failure | "model_not_found" | "load_failed" | "generation_failed" | "unprocessable" | "bad_json" | "unsupported_media_type" | "too_large" | number;
  /** calls of the client's tools */
  tool_calls?: Array<ToolCall>;
  /** what the model thinks first (reasoning_content) */
  reasoning?: string | Array<string>;
  /** instead of a reply: the words of a refusal */
  refusal?: string | Array<string>;
  /** instead of a reply: several, for n above 1 */
  choices?: Array<string | Array<string>>;
  /** true, or the logarithm of each token's probability */
  logprobs?: boolean | Array<number>;
  /** default: stop, or tool_calls */
  finish_reason?: string;
  /** the numbers of tokens, as the route's usage object has them */
  usage?: { [name: string]: unknown };
  /** a vector for each input, or a number of dimensions: the same vector for the same text */
  embeddings?: number | Array<Array<number>>;
  /** the whole stream, event by event; nothing else is sent */
  events?: Array<string | Event>;
  /** further headers; one that the fake sends is replaced */
  headers?: { [name: string]: string };
  /** what the request must be like that gets this answer, as in when; a string: a part of its last message. Another request is refused, and the test fails */
  expect?: string | When;
  /** its timing, instead of the script's */
  latency?: Latency;
  /** what goes wrong on the way */
  faults?: Array<Fault>;
}

/** An answer with a status and a body of the user's choice. */
export interface Failure {
  /** the HTTP status */
  status?: number;
  /** a string is sent as it is, anything else as JSON; default: empty */
  body?: unknown;
  /** instead of body: bytes, in base64 */
  base64?: string;
  /** further headers; one that the fake sends is replaced */
  headers?: { [name: string]: string };
}

/** A call of one of the client's tools. No shimmy makes one. */
export interface ToolCall {
  /** of the tool */
  name: string;
  /** an object, or a string that is sent as it is */
  arguments?: unknown;
  /** default: call_1, call_2 and so on, counted in a session */
  id?: string;
  /** streamed in one event, and not in pieces */
  whole?: boolean;
}

/** One event of a stream. */
export interface Event {
  /** a string is sent as it is, anything else as JSON */
  data?: unknown;
  /** with data: the kind of event, as Anthropic names them */
  event?: string;
  /** instead: exactly these characters, such as a comment */
  raw?: string;
  /** instead: exactly these bytes, in base64 */
  base64?: string;
}

/** Something that goes wrong at one place of an answer. */
export interface Fault {
  /** what happens */
  do: "reset" | "close" | "half_close" | "end" | "stall" | "hang" | "exit" | "garble";
  /** where; default: before the first byte; garble: at the first token */
  at?: "start" | "headers" | "body" | "end" | "done" | "after" | Position;
  /** stall: for how long */
  seconds?: number;
  /** garble: what is changed */
  how?: "malformed_event" | "truncated_json" | "truncated_event" | "invalid_utf8" | "content_type" | "duplicate_done" | "missing_done";
  /** exit: the exit status */
  status?: number;
  /** exit: die by this signal instead */
  signal?: string;
}

/** A place in an answer. One of ``place``, ``tokens``, ``bytes``. */
export interface Position {
  /** a place with a name */
  place?: "start" | "headers" | "body" | "end" | "done" | "after";
  /** after so many tokens */
  tokens?: number;
  /** with tokens: inside the event that follows */
  inside?: "character" | "json" | "newlines" | "event";
  /** after so many bytes of the answer, head included */
  bytes?: number;
}

/** Faults for the whole life of a process. */
export interface Life {
  /** serve exits instead of listening */
  refuse?: Refusal;
  /** seconds before serve listens */
  start_delay?: number;
  /** for so many seconds after it listens, /health answers 503 */
  healthy_after?: number;
  /** never: /health always answers 503; garbage: with nonsense; silent: with nothing; a list of true and false: in this order, again and again */
  health?: "never" | "garbage" | "silent" | Array<boolean>;
  /** the process dies by itself */
  exit?: Exit;
  /** SIGTERM is ignored */
  deaf?: boolean;
  /** seconds from SIGTERM to the end of the process */
  stop_delay?: number;
  /** no model loads, so every generation fails, while /health answers 200 */
  failing?: boolean;
  /** bytes per second written to standard output */
  log_flood?: number;
  /** what the list command does: garbage: it prints no list; hang: nothing, for ever */
  list?: "garbage" | "hang";
}

/** A start that fails. */
export interface Refusal {
  /** the exit status */
  status?: number;
  /** what it writes to stderr */
  stderr?: string;
}

/** When and how the process dies by itself. */
export interface Exit {
  /** when so many requests, health checks not counted, were answered */
  after_requests?: number;
  /** so many seconds after it began to listen */
  after_seconds?: number;
  /** the exit status */
  status?: number;
  /** die by this signal instead */
  signal?: string;
  /** die as a Rust program without memory does: its message, then SIGABRT */
  out_of_memory?: boolean;
}

/** One exchange. */
export interface Recording {
  /** the number of the test's own server that was asked; 0: the shared one */
  server?: number;
  /** what was asked */
  request: AskedRequest;
  /** what was answered */
  answer: TimedAnswer;
}

/** A request as recordings are found by it. Its headers are not kept. */
export interface AskedRequest {
  /** the method */
  method?: string;
  /** the path, with its query */
  path?: string;
  /** the body, where it is JSON */
  json?: unknown;
  /** the body, where it is another text */
  text?: string;
  /** the body, where it is no text */
  base64?: string;
  /** what the client sent over a WebSocket: texts, or JSON */
  messages?: Array<unknown>;
  /** how many frames of the answer came before the first of those messages */
  before?: number;
  /** how many frames of the answer came before each of those messages but the first */
  after?: Array<number>;
  /** when those messages came, in ms after the first one */
  moments?: Array<number>;
}

/** An answer as a client received it. */
export interface TimedAnswer {
  /** status line and headers; none: there was no answer */
  head?: Array<string>;
  /** when the head was complete, in ms */
  at?: number;
  /** how the body is framed */
  framing?: "none" | "length" | "close" | "chunked" | "frames";
  /** the sizes of chunks have small letters */
  lower_hex?: boolean;
  /** the body; an empty chunk of HTTP is the last of its answer */
  chunks?: Array<[number, string | { base64: string }, string?]>;
  /** header lines after the last chunk */
  trailers?: Array<string>;
  /** how the answer ended */
  end?: "complete" | "closed" | "reset" | "left";
}

/** Reset a session: set this script, with no rule used, and empty the journal. */
export interface Open {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** a script; its life has no effect here */
  script?: Script;
  /** what it is called in memory that is shared; default: not there */
  number?: number;
}

/** Add a rule, after those of the session and before those of the server's script. */
export interface Add {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** the rule */
  rule: Rule;
}

/** Remove a rule. */
export interface Remove {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** the rule's number, from the answer to add */
  id: number;
}

/** Change settings of all of a session's answers. */
export interface Configure {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** a script, of which strict, latency, load_time and serialise are taken where given */
  script: Script;
}

/** Get the journal: the requests, and how each was answered. */
export interface Journal {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** only records with higher numbers */
  after?: number;
}

/** Wait until so many requests have come, then get the journal. */
export interface Wait {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** only records with higher numbers */
  after?: number;
  /** which requests count; default: all */
  when?: When;
  /** how many; default: 1 */
  count?: number;
  /** for how long; default: 5, at most 3600 */
  seconds?: number;
  /** default: true, only those whose answer is over count */
  finished?: boolean;
}

/** Remove a session; the one without a key is reset. */
export interface Close {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
}

/** Refuse connections for a while; those that are open go on. */
export interface Refuse {
  /** for how long; default, and at most: 3600 */
  seconds?: number;
}

/** Accept connections again. It needs a connection that was open before they were refused. */
export interface Accept {
}

/** Get the number of requests, over all sessions. */
export interface Totals {
}

/** Answer a session's requests from recordings, where no rule does. */
export interface Replay {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** which requests are the same as recorded ones */
  rules?: SameRules;
  /** 0: at once; 1: as recorded; 2: twice as fast */
  speed?: number;
}

/** Which requests are the same. */
export interface SameRules {
  /** paths of members that do not count */
  ignore?: Array<string>;
  /** patterns of texts that vary */
  varying?: Array<string>;
  /** patterns of secrets */
  secret?: Array<string>;
  /** secrets themselves */
  secrets?: Array<string>;
}

/** Use a cassette, and load it where its exchanges are given. */
export interface Cassette {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** the cassette */
  name: string;
  /** its recordings */
  exchanges?: Array<Recording>;
}

/** Get which recordings were used since the last time, and which requests had none. */
export interface Replayed {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
}

/** Read a file before each request is answered: its new lines are messages about this session,
    without ``session``: ``open``, ``add``, ``close``. */
export interface Follow {
  /** the API key whose requests are meant; empty: requests with no key, or another one */
  session: string;
  /** its path; default: no file any more */
  file?: string;
  /** path of a file that is used as memory: what sessions with a number were asked is also noted there; default: nowhere */
  shared?: string;
}

/** The session is open. */
export interface Opened {
  /** true */
  ok: boolean;
  /** random seed for chance and jitter */
  seed: number;
  /** as in a journal */
  stray_count: number;
}

/** The rule applies from now on. */
export interface Added {
  /** true */
  ok: boolean;
  /** the rule's number */
  id: number;
}

/** It was done. */
export interface Done {
  /** true */
  ok: boolean;
}

/** The journal of a session. */
export interface State {
  /** the requests, the oldest first */
  records: Array<RecordedRequest>;
  /** how many older ones were dropped, over 1000 or 4 MiB */
  dropped: number;
  /** the rules, in the order they are tried */
  rules: Array<RuleState>;
  /** random seed for chance and jitter */
  seed: number;
  /** whether the seed has mattered */
  is_random: boolean;
  /** while several sessions are open: requests of none of them */
  stray: Array<Stray>;
  /** how many, since the server began */
  stray_count: number;
  /** how many of these, before the session was opened */
  stray_before: number;
}

/** One request and its answer. Times are in seconds. */
export interface RecordedRequest {
  /** its number in the session's journal, from 1 */
  id: number;
  /** when it was complete, in seconds since 1970 */
  time: number;
  /** the same on a monotonic clock */
  started: number;
  /** the method */
  method: string;
  /** the path, without a key */
  path: string;
  /** names, in small letters, and values, as they came */
  headers: Array<[name: string, value: string]>;
  /** the body; a byte that is not UTF-8 is half a character (U+DC80…) */
  body: string;
  /** the number of its connection */
  connection: number;
  /** the rule that answered it */
  rule: number | null;
  /** how reports call that rule, or the cassette */
  rule_name: string | null;
  /** which of the rule's answers, from 0 */
  answer: number | null;
  /** there are rules, and none of them matched */
  unmatched: boolean;
  /** which rule was nearest, and what was different */
  nearest: string | null;
  /** it is not what the answer that was its turn expects */
  unexpected: boolean;
  /** why shimmy refuses it */
  refusal: string | null;
  /** the rule that would have answered it otherwise */
  refused_rule: string | null;
  /** the HTTP status that was sent */
  status: number | null;
  /** how many tokens were sent */
  tokens: number;
  /** how many bytes were sent, head included */
  bytes: number;
  /** when each token was due, after the request */
  schedule: Array<number>;
  /** when each token was sent */
  measured: Array<number>;
  /** from the request to the end of the answer */
  duration: number | null;
  /** how; null while the answer is on its way */
  ended: "complete" | "client_left" | "cut" | null;
  /** what went wrong on the way, as scripted */
  faults: Array<string>;
  /** what was scripted and did not happen */
  unfired: Array<string>;
  /** it got an answer that no shimmy gives */
  beyond: boolean;
}

/** A rule and how far it is used up. */
export interface RuleState {
  /** its number */
  id: number;
  /** how reports call it */
  name: string;
  /** how many requests it has answered */
  used: number;
  /** how many it still answers; null: any number */
  left: number | null;
  /** its regular expression that took too long */
  slow: string | null;
}

/** A request for no session. */
export interface Stray {
  /** the method */
  method: string;
  /** the path */
  path: string;
  /** the API key; empty: none */
  key: string;
}

/** The same, after waiting. */
export interface Waited {
  /** the requests, the oldest first */
  records: Array<RecordedRequest>;
  /** how many older ones were dropped, over 1000 or 4 MiB */
  dropped: number;
  /** the rules, in the order they are tried */
  rules: Array<RuleState>;
  /** random seed for chance and jitter */
  seed: number;
  /** whether the seed has mattered */
  is_random: boolean;
  /** while several sessions are open: requests of none of them */
  stray: Array<Stray>;
  /** how many, since the server began */
  stray_count: number;
  /** how many of these, before the session was opened */
  stray_before: number;
  /** fewer requests came in that time */
  timed_out: boolean;
}

/** The number. */
export interface Counted {
  /** requests, without control requests and health checks without a key */
  requests: number;
}

/** Which recordings were used since the last time. */
export interface Used {
  /** by cassette: numbers of the recordings, from 0 */
  used: { [name: string]: Array<number> };
  /** requests that no recording answers; 20 at most */
  missed: Array<Missed>;
}

/** A request without a recording. */
export interface Missed {
  /** the cassette that was in use */
  cassette: string;
  /** the request */
  request: AskedRequest;
}

/** The file is read from now on. */
export interface Followed {
  /** true */
  ok: boolean;
  /** that of the server's script */
  seed: number | null;
  /** how many rules that has, which are numbered after a session's own */
  rules: number;
}

/** What can be said over the control route. */
export type Message =
  | ({ op: "open" } & Open)
  | ({ op: "add" } & Add)
  | ({ op: "remove" } & Remove)
  | ({ op: "configure" } & Configure)
  | ({ op: "journal" } & Journal)
  | ({ op: "wait" } & Wait)
  | ({ op: "close" } & Close)
  | ({ op: "refuse" } & Refuse)
  | ({ op: "accept" } & Accept)
  | ({ op: "totals" } & Totals)
  | ({ op: "replay" } & Replay)
  | ({ op: "cassette" } & Cassette)
  | ({ op: "replayed" } & Replayed)
  | ({ op: "follow" } & Follow);

/** What is answered, by the `op` of the message. */
export interface Answers {
  open: Opened;
  add: Added;
  remove: Done;
  configure: Done;
  journal: State;
  wait: Waited;
  close: Done;
  refuse: Done;
  accept: Done;
  totals: Counted;
  replay: Done;
  cassette: Done;
  replayed: Used;
  follow: Followed;
}
