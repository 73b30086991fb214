import { readFileSync } from "node:fs";
import { join } from "node:path";

export function recorded(name: string): string {
  return readFileSync(join(import.meta.dirname, "recorded", `${name}.eventsource`), "utf8");
}

/** An answer whose body comes in pieces of a few bytes, as networks do it; `then` is what follows the last one. */
export function streamed(text: string, { size = 7, then = "end" as "end" | "break" | "silence" } = {}): Response {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += size)));
      else if (then === "end") controller.close();
      else if (then === "break") controller.error(new TypeError("the network is gone"));
      else return new Promise(() => undefined);
      return undefined;
    },
  });
  return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
}
