/**
 * A client for event streams: one request after another, until the stream says that it is over.
 *
 * It never looks into the data: what an event means is for `events.ts`. A stream that is silent for too long counts as
 * broken, because a proxy may keep the connection of a service that died.
 */
import { createParser, type EventSourceMessage } from "eventsource-parser";

export interface Stream {
  /** The request for the stream, from after the event with this id; "" is from its start. May do something first. */
  request(lastId: string): Promise<Request>;
  /** One event. True: the stream is over, nothing more is asked for. */
  onEvent(event: EventSourceMessage): boolean;
  /** The connection is lost and will be tried again, for the nth time in a row. */
  onLost(attempt: number): void;
  signal: AbortSignal;
  silentMilliseconds?: number;
  /** How long to wait before the nth attempt. */
  pause?: (attempt: number) => number;
}

/** An answer that is no event stream, and that asking again would not change. */
export class StreamRefused extends Error {
  constructor(readonly status: number) {
    super(`the stream was refused with status ${status}`);
  }
}

const SILENT_MILLISECONDS = 30_000;
const TOO_MANY_REQUESTS = 429;

/** Follow a stream to its end, however often the connection breaks. Throws StreamRefused. */
export async function follow(stream: Stream): Promise<void> {
  let lastId = "";
  let attempt = 0;
  const pause = stream.pause ?? backoff;
  while (!stream.signal.aborted) {
    try {
      const request = await stream.request(lastId);
      const over = await readOnce(stream, request, (event) => {
        attempt = 0;
        if (event.id) lastId = event.id;
        return stream.onEvent(event);
      });
      if (over) return;
    } catch (error) {
      if (error instanceof StreamRefused || stream.signal.aborted) throw error;
    }
    if (stream.signal.aborted) return;
    attempt += 1;
    stream.onLost(attempt);
    await sleep(pause(attempt), stream.signal);
  }
}

async function readOnce(
  stream: Stream,
  request: Request,
  onEvent: (event: EventSourceMessage) => boolean,
): Promise<boolean> {
  const connection = new AbortController();
  const abort = () => connection.abort();
  stream.signal.addEventListener("abort", abort);
  const limit = stream.silentMilliseconds ?? SILENT_MILLISECONDS;
  let silence = setTimeout(abort, limit);
  let over = false;
  const parser = createParser({
    onEvent(event) {
      if (!over) over = onEvent(event);
    },
  });
  try {
    const response = await fetch(request, { signal: connection.signal });
    const kind = response.headers.get("Content-Type") ?? "";
    if (!response.ok || !kind.startsWith("text/event-stream") || response.body === null) {
      if (response.status < 500 && response.status !== TOO_MANY_REQUESTS) throw new StreamRefused(response.status);
      return false;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    connection.signal.addEventListener("abort", () => void reader.cancel().catch(() => undefined));
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return over;
      clearTimeout(silence);
      silence = setTimeout(abort, limit); // comments are signs of life too
      parser.feed(value);
      if (over) return true;
    }
  } finally {
    clearTimeout(silence);
    stream.signal.removeEventListener("abort", abort);
    connection.abort();
  }
}

function backoff(attempt: number): number {
  return Math.min(30_000, 500 * 2 ** Math.min(attempt - 1, 6)) * (0.75 + Math.random() / 2);
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
