/** Asks for the links of what is typed, and shows the answer where the server would have rendered it. */
import type { components } from "../api/schema";
import { isEnglish, meaning, t } from "../common/words";

export interface Problem {
  code?: string;
  message: string;
  hint: string;
}
export interface Answer {
  links: Record<string, string | string[] | null> & Pick<components["schemas"]["LinksJson"], "launch" | "notes">;
  checked: boolean;
}

/** The answer of the launcher; trouble of any kind is a problem in words. An aborted question never ends. */
export async function readLinks(
  form: HTMLFormElement,
  { check, signal }: { check: boolean; signal: AbortSignal },
): Promise<Answer | Problem> {
  const { _xsrf: xsrf, ...fields } = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
  try {
    const answer = await fetch(form.dataset.api ?? "", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-XSRFToken": xsrf ?? "" },
      body: JSON.stringify({ ...fields, check }),
      signal,
    });
    const body = (await answer.json()) as Answer | { error: Problem };
    return "error" in body ? body.error : body;
  } catch {
    return { message: t("links.unreachable"), hint: "" };
  }
}

/** Show links, or why there are none. Everything is text, whatever it says. */
export function showAnswer(answer: Answer | Problem): void {
  const works = "links" in answer;
  element("results").hidden = !works;
  element("problem").hidden = works;
  if (!works) {
    showProblem(answer);
    return;
  }
  element("checked").textContent = answer.checked ? t("links.works") : "";
  element("notes").textContent = answer.links.notes.map((note) => t(`links.about_${note}`)).join(" ");
  element("notes").hidden = answer.links.notes.length === 0;
  element("preview").setAttribute("href", answer.links.launch);
  for (const output of document.querySelectorAll<HTMLElement>(".output")) {
    const area = output.querySelector("textarea");
    const text = answer.links[area?.id ?? ""] ?? null;
    output.hidden = typeof text !== "string";
    if (area) area.value = typeof text === "string" ? text : "";
  }
}

/** What the server says of a problem is English: pages in other languages say what its code means, and then that. */
function showProblem({ code = "", message, hint }: Problem): void {
  const means = meaning(code);
  const [heading, rest] = means ? [means, `${message} ${hint}`] : [message, hint];
  write(element("problem-message"), heading, code === "" || means !== "");
  write(element("problem-hint"), rest, code === "");
}

function write(element: HTMLElement, text: string, translated: boolean): void {
  element.textContent = text;
  element.lang = translated || isEnglish() ? "" : "en";
  element.dir = element.lang && "ltr";
}

/** Say that the repository is being looked at. */
export function showWaiting(): void {
  element("checked").textContent = t("links.checking");
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}
