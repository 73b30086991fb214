/** Reads the log of one build into lines, as it grows, to its end. */
import { follow, StreamRefused } from "../launch/eventStream";
import type { LogLines } from "./lines";

/** True when the log was told to its end, false when the launcher does not tell it to this person any more. */
export async function followLog(
  address: string,
  lines: LogLines,
  { xsrf, signal }: { xsrf: string; signal: AbortSignal },
): Promise<boolean> {
  const headers = { Accept: "text/event-stream", "X-XSRFToken": xsrf };
  try {
    await follow({
      signal,
      request: (lastId) =>
        Promise.resolve(
          new Request(address, { headers: { ...headers, ...(lastId && { "Last-Event-ID": lastId }) } }),
        ),
      onEvent(event) {
        if (event.event === "end") return true;
        const { message } = JSON.parse(event.data) as { message?: unknown };
        if (typeof message === "string") lines.add(message);
        return false;
      },
      onLost: () => undefined,
    });
    return !signal.aborted;
  } catch (error) {
    if (error instanceof StreamRefused) return false;
    throw error;
  }
}
