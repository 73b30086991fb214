/** A button beside every text that is there to be copied. */
import { t } from "../common/words";

const saidMilliseconds = 2000;

export function addCopyButtons(page: Document): void {
  for (const output of page.querySelectorAll<HTMLElement>(".output")) {
    const area = output.querySelector("textarea");
    const name = output.querySelector("label")?.firstChild?.textContent?.trim() ?? "";
    if (area === null) continue;
    const button = page.createElement("button");
    button.type = "button";
    button.className = "button second copy";
    button.textContent = t("links.copy");
    button.setAttribute("aria-label", t("links.copy_name", { name }));
    button.addEventListener("click", () => void copy(area, button));
    output.append(button);
  }
}

async function copy(area: HTMLTextAreaElement, button: HTMLButtonElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(area.value);
  } catch {
    area.select(); // pages without https have no clipboard: the person presses the keys
    return;
  }
  button.textContent = t("links.copied");
  setTimeout(() => (button.textContent = t("links.copy")), saidMilliseconds);
}
