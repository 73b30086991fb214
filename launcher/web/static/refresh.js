// Loads the page again now and then, while it is looked at and nobody is in the middle of something on it.
const script = document.querySelector("script[data-seconds]");
const milliseconds = 1000 * Number(script.dataset.seconds);
const since = Date.now();
let leaving = false;

function isFree() {
  const focused = document.activeElement;
  const selected = String(document.getSelection());
  return document.visibilityState === "visible" && (!focused || focused === document.body) && selected === "";
}

function look() {
  if (!leaving && Date.now() - since >= milliseconds && isFree()) {
    leaving = true;
    location.reload();
  }
}

document.addEventListener("submit", () => (leaving = true));
document.addEventListener("visibilitychange", look);
setInterval(look, 1000);
