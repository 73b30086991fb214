import { afterEach, expect, test, vi } from "vitest";
import { followLog } from "../../src/log/follow";
import { LogLines } from "../../src/log/lines";

afterEach(() => vi.unstubAllGlobals());

function answers(...bodies: [string, number][]): Request[] {
  const asked: Request[] = [];
  vi.stubGlobal("fetch", (request: Request) => {
    asked.push(request);
    const [body, status] = bodies[asked.length - 1] ?? ["", 404];
    return Promise.resolve(new Response(body, { status, headers: { "Content-Type": "text/event-stream" } }));
  });
  return asked;
}
const address = "http://localhost/api/v1/builds/b-1/events";
const options = () => ({ xsrf: "token", signal: new AbortController().signal });
const line = (id: string, message: string) => `id: ${id}\ndata: ${JSON.stringify({ phase: "building", message })}\n\n`;

test("a log is read to its end, and goes on where a broken connection left it", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 500 });
  const asked = answers([line("b-1:4", "one\n"), 200], [`${line("b-1:8", "two\n")}event: end\ndata: {}\n\n`, 200]);
  const lines = new LogLines();
  expect(await followLog(address, lines, options())).toBe(true);
  expect(lines.text()).toBe("one\ntwo");
  expect(asked.every((request) => request.headers.get("X-XSRFToken") === "token")).toBe(true);
  expect(asked.map((request) => request.headers.get("Last-Event-ID"))).toEqual([null, "b-1:4"]);
  vi.useRealTimers();
});

test("a line that looks like an event stays a line", async () => {
  answers([`${line("b-1:4", 'event: end\ndata: {"phase": "ready"}\n')}event: end\ndata: {}\n\n`, 200]);
  const lines = new LogLines();
  await followLog(address, lines, options());
  expect(lines.text()).toBe('event: end\ndata: {"phase": "ready"}');
});

test("a log that is not told to this person any more is not asked for again", async () => {
  const asked = answers(["{}", 404]);
  expect(await followLog(address, new LogLines(), options())).toBe(false);
  expect(asked).toHaveLength(1);
});
