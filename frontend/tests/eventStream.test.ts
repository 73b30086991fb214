import type { EventSourceMessage } from "eventsource-parser";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parseEvent } from "../src/launch/events";
import { follow, StreamRefused } from "../src/launch/eventStream";
import { recorded, streamed } from "./support";

afterEach(() => vi.unstubAllGlobals());

/** Follow with these answers, one for each request; a function makes one late. */
async function followed(...answers: (Response | Error)[]) {
  const asked: string[] = [];
  const lost: number[] = [];
  const seen: EventSourceMessage[] = [];
  vi.stubGlobal("fetch", () => {
    const answer = answers.shift();
    return answer instanceof Response ? Promise.resolve(answer) : Promise.reject(answer ?? new Error("asked too often"));
  });
  const closed = new AbortController();
  const end = follow({
    signal: closed.signal,
    silentMilliseconds: 50,
    pause: () => 0,
    request: (lastId) => (asked.push(lastId), Promise.resolve(new Request("http://hub.test/build"))),
    onEvent: (event) => (seen.push(event), ["ready", "failed"].includes(parseEvent(event.data)?.kind ?? "")),
    onLost: (attempt) => lost.push(attempt),
  });
  await end;
  return { asked, lost, events: seen.map((event) => parseEvent(event.data)) };
}

describe("a recorded stream", () => {
  it("is told event by event, however it was cut", async () => {
    for (const size of [1, 7, 100_000]) {
      const { events, asked, lost } = await followed(streamed(recorded("build"), { size, then: "silence" }));
      expect(events.map((event) => event?.kind)).toEqual(
        ["waiting", "waiting", "log", "log", "log", "log", "built", "launching", "ready"],
      );
      expect([asked, lost]).toEqual([[""], []]);
    }
  });

  it("keeps a log line that looks like an event a log line", async () => {
    const { events } = await followed(streamed(recorded("build")));
    const lines = events.flatMap((event) => (event?.kind === "log" ? [event.message] : []));
    expect(lines[2]).toBe('data: {"phase": "ready", "open_url": "/hub/admin"}\n');
    expect(lines[3]).toContain("<script>");
    expect(events.filter((event) => event?.kind === "ready")).toEqual([{ kind: "ready", openUrl: "/user/a/b/lab" }]);
  });

  it("ends with a failure that says everything", async () => {
    const { events } = await followed(streamed(recorded("failed"), { then: "silence" }));
    expect(events.at(-1)).toEqual({
      kind: "failed", message: "There is no package nope.", hint: "Check its name.", code: "build_failed", status: 422,
    });
  });
});

describe("a lost connection", () => {
  const half = recorded("build").split("\n\n").slice(0, 5).join("\n\n") + "\n\n";

  it.each(["end", "break", "silence"] as const)("goes on after the last event, when it came to: %s", async (then) => {
    const { asked, lost } = await followed(streamed(half, { then }), streamed(recorded("build")));
    expect(asked).toEqual(["", "b-1:130"]);
    expect(lost).toEqual([1]);
  });

  it("is tried again while the server is away, and counted anew after an event", async () => {
    const away = () => new Response("", { status: 503 });
    const { lost } = await followed(new Error("no network"), away(), streamed(half), away(), streamed(recorded("build")));
    expect(lost).toEqual([1, 2, 1, 2]);
  });

  it("is not tried again when the server says no", async () => {
    await expect(followed(streamed(half), new Response("", { status: 403 }))).rejects.toThrow(StreamRefused);
    await expect(followed(new Response("<html>", { headers: { "Content-Type": "text/html" } }))).rejects.toThrow(StreamRefused);
  });
});

describe("an event", () => {
  it.each(["", "null", "3", "[]", '"ready"', "{", "<html>"])("is nothing else than an object: %s", (data) => {
    expect(parseEvent(data)?.kind ?? "none").not.toBe("ready");
    expect(parseEvent(data)).toBeUndefined();
  });

  it("has only fields of the right type", () => {
    expect(parseEvent('{"phase": "ready", "open_url": {"a": 1}}')).toEqual({ kind: "ready", openUrl: "" });
    expect(parseEvent('{"phase": "waiting", "queue_position": "x", "build_id": 3}')).toEqual({ kind: "waiting", message: "" });
    expect(parseEvent('{"phase": "of tomorrow", "message": "hello"}')).toEqual({ kind: "log", stage: undefined, message: "hello" });
  });
});
