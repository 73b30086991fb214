/** Asks for the links of what is typed, and shows the answer where the server would have rendered it. */
import { t } from "../common/words";

export interface Problem {
  message: string;
  hint: string;
}
export interface Answer {
  links: Record<string, string | null>;
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
    element("problem-message").textContent = answer.message;
    element("problem-hint").textContent = answer.hint;
    return;
  }
  element("checked").textContent = answer.checked ? t("links.works") : "";
  element("preview").setAttribute("href", answer.links.launch ?? "");
  for (const output of document.querySelectorAll<HTMLElement>(".output")) {
    const area = output.querySelector("textarea");
    const text = answer.links[area?.id ?? ""] ?? null;
    output.hidden = text === null;
    if (area) area.value = text ?? "";
  }
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
