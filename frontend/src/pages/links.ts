// The page of links: what the form would answer, while it is typed; and buttons that copy.
import { readLinks, showAnswer, showWaiting } from "../links/preview";
import { addCopyButtons } from "../links/copy";

const form = document.querySelector<HTMLFormElement>("#links-form");
const pauseMilliseconds = 500;
let timer: ReturnType<typeof setTimeout> | undefined;
let running: AbortController | undefined;

async function look(form: HTMLFormElement): Promise<void> {
  running?.abort();
  const mine = (running = new AbortController());
  const quick = await readLinks(form, { check: false, signal: mine.signal });
  if (mine.signal.aborted) return;
  showAnswer(quick);
  if (!("links" in quick)) return;
  showWaiting();
  const thorough = await readLinks(form, { check: true, signal: mine.signal });
  if (!mine.signal.aborted) showAnswer(thorough);
}

if (form !== null) {
  addCopyButtons(document);
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (form.elements.namedItem("repository") instanceof HTMLInputElement && form.checkValidity()) void look(form);
    }, pauseMilliseconds);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    void look(form);
  });
}
