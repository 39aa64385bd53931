// Compiled, and never run: what the types allow, and what they do not.
import { type Answers, type Control, type Script, start, variables } from "fake-shimmy";

export const script: Script = {
  rules: [
    { when: { user: { matches: "^H" }, endpoint: "chat" }, reply: ["a", "b"], times: 2 },
    { faults: [{ do: "reset", at: { tokens: 1 } }], fail: "load_failed" },
  ],
  life: { exit: { after_requests: 3, signal: "SIGSEGV" } },
};

export async function use(control: Control): Promise<void> {
  await control.script(script);
  const id: number = await control.reply("text", { when: { json: { temperature: 0 } } });
  const answer: Answers["wait"] = await control.ask({ op: "wait", session: "", count: 2 });
  const late: boolean = answer.timed_out;
  const [request] = await control.requests();
  const status: number | null | undefined = request?.status;
  void [id, late, status, request?.json.model];

  // @ts-expect-error: no such member
  await control.add({ repyl: "x" });
  // @ts-expect-error: no such fault
  await control.reply("x", { faults: [{ do: "explode" }] });
  // @ts-expect-error: it lacks a session
  await control.ask({ op: "journal" });
  // @ts-expect-error: only a wait tells that
  (await control.ask({ op: "journal", session: "" })).timed_out;
  // @ts-expect-error: a port is a number
  await start({ port: "1" });
  // @ts-expect-error: variables name a file
  variables({ script });
}
