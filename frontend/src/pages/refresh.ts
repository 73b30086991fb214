// Loads the page again now and then, while it is looked at and nobody is in the middle of something on it.
import { pageData } from "../common/page";

const milliseconds = 1000 * (pageData<{ seconds: number }>("refresh")?.seconds ?? 60);
const since = Date.now();
let leaving = false;

function isFree(): boolean {
  const focused = document.activeElement;
  const selected = String(document.getSelection());
  return document.visibilityState === "visible" && (!focused || focused === document.body) && selected === "";
}

function look(): void {
  if (!leaving && Date.now() - since >= milliseconds && isFree()) {
    leaving = true;
    location.reload();
  }
}

document.addEventListener("submit", () => (leaving = true));
document.addEventListener("visibilitychange", look);
setInterval(look, 1000);
