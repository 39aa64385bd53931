#!/usr/bin/env node
// fake-shimmy as a command: its arguments, its streams, its exit status, and signals passed on.
import { spawn } from "node:child_process";
import { findPython, pyz } from "./index.js";

let python;
try {
  python = findPython();
} catch (error) {
  console.error(error.message);
  process.exit(127);
}
const child = spawn(python, [pyz, ...process.argv.slice(2)], {
  stdio: "inherit",
  // Whatever ends this process, the server ends with it.
  env: { FAKE_SHIMMY_ENDS_WITH: "parent", ...process.env },
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
