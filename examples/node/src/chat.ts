// An application's model: it starts shimmy beside itself, waits until it answers, and chats.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

export interface Settings {
  executable: string;
  port: number;
  model: string;
  /** A model file; without one, shimmy looks for models itself. */
  modelPath?: string;
  startTimeout?: number;
}

export class ModelError extends Error {}

export class Sidecar {
  private constructor(
    private readonly settings: Settings,
    private readonly process: ChildProcess,
  ) {}

  static async start(settings: Settings): Promise<Sidecar> {
    const model = settings.modelPath ? ["--model-path", settings.modelPath] : [];
    const child = spawn(
      settings.executable,
      ["serve", "--bind", `127.0.0.1:${settings.port}`, ...model],
      { stdio: "ignore" },
    );
    await once(child, "spawn");
    const sidecar = new Sidecar(settings, child);
    await sidecar.waitUntilHealthy(Date.now() + (settings.startTimeout ?? 10_000));
    return sidecar;
  }

  private async waitUntilHealthy(deadline: number): Promise<void> {
    while (Date.now() < deadline) {
      if (this.process.exitCode !== null) {
        throw new ModelError(`shimmy ended with status ${this.process.exitCode}`);
      }
      const answer = await fetch(this.url("/health")).catch(() => undefined);
      if (answer?.ok) return;
      await sleep(20);
    }
    await this.stop();
    throw new ModelError("shimmy does not answer");
  }

  /** The answer, in pieces as they come; throws when it is not whole. */
  async *ask(question: string): AsyncGenerator<string> {
    const answer = await fetch(this.url("/v1/chat/completions"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: this.settings.model,
        stream: true,
        messages: [{ role: "user", content: question }],
      }),
    });
    if (!answer.ok || answer.body === null) throw new ModelError(`status ${answer.status}`);
    let rest = "";
    try {
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
        const events = (rest + text).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) {
          const data = event.replace(/^data: /, "");
          if (data === "[DONE]") return;
          const chunk = JSON.parse(data);
          if (chunk.error) throw new ModelError(chunk.error.message);
          const piece: string | undefined = chunk.choices[0]?.delta.content;
          if (piece) yield piece;
        }
      }
    } catch (error) {
      throw error instanceof ModelError ? error : new ModelError(`the answer broke off: ${error}`);
    }
    throw new ModelError("the answer ended too early");
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, "exit");
    this.process.kill();
    await gone;
  }

  private url(path: string): string {
    return `http://127.0.0.1:${this.settings.port}${path}`;
  }
}
