import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readLinks, showAnswer, type Answer } from "../../src/links/preview";

const page = `
<form data-api="/api/v1/links"><input name="_xsrf" value="token"><input name="repository" value="o/r"></form>
<p id="problem" hidden><strong id="problem-message"></strong><span id="problem-hint"></span></p>
<section id="results" hidden><p id="checked"></p><p id="notes" hidden></p><a id="preview"></a>
<div class="output" hidden><textarea id="launch"></textarea></div>
<div class="output" hidden><textarea id="nbgitpuller"></textarea></div></section>`;
const answer: Answer = { links: { launch: "https://hub/v2/gh/o/r/HEAD", nbgitpuller: null, notes: [] }, checked: false };

beforeEach(() => (document.body.innerHTML = page));
afterEach(() => vi.unstubAllGlobals());

function hidden(selector: string): boolean {
  return document.querySelector<HTMLElement>(selector)?.hidden ?? true;
}
function ask(reply: () => Promise<Response>) {
  const asked = vi.fn(reply);
  vi.stubGlobal("fetch", asked);
  const form = document.querySelector("form");
  if (form === null) throw new Error("no form");
  return { asked, answer: readLinks(form, { check: true, signal: new AbortController().signal }) };
}

test("the question is the form, with the token in a header and nowhere else", async () => {
  const { asked, answer: got } = ask(() => Promise.resolve(Response.json(answer)));
  expect(await got).toEqual(answer);
  const [address, options] = asked.mock.calls[0] as unknown as [string, RequestInit];
  expect(address).toBe("/api/v1/links");
  expect(options.headers).toMatchObject({ "X-XSRFToken": "token" });
  expect(JSON.parse(String(options.body))).toEqual({ repository: "o/r", check: true });
});

test("an error of the launcher, and no answer at all, are problems", async () => {
  const error = { message: "No such branch.", hint: "Check it." };
  const refused = ask(() => Promise.resolve(Response.json({ error }, { status: 404 })));
  expect(await refused.answer).toEqual(error);
  const silent = ask(() => Promise.reject(new TypeError("offline")));
  expect(await silent.answer).toHaveProperty("message");
});

test("links are shown with only the outputs there are", () => {
  showAnswer(answer);
  expect(hidden("#results")).toBe(false);
  expect(document.querySelector<HTMLTextAreaElement>("#launch")?.value).toBe("https://hub/v2/gh/o/r/HEAD");
  expect(hidden(".output:has(#launch)")).toBe(false);
  expect(hidden(".output:has(#nbgitpuller)")).toBe(true);
});

test("what somebody should know about the links is said", () => {
  showAnswer({ ...answer, links: { ...answer.links, notes: ["proposal", "guessed"] } });
  expect(hidden("#notes")).toBe(false);
  expect(document.querySelector("#notes")?.textContent).toBe("links.about_proposal links.about_guessed");
  showAnswer(answer);
  expect(hidden("#notes")).toBe(true);
});

test("a problem takes the place of links, and its words stay text", () => {
  showAnswer(answer);
  showAnswer({ message: "<img src=x onerror=alert(1)>", hint: "" });
  expect(hidden("#results")).toBe(true);
  expect(hidden("#problem")).toBe(false);
  expect(document.querySelector("#problem img")).toBeNull();
});
