// Follows one launch and goes to the session when it is ready. Text of a build only ever becomes text nodes.
const config = JSON.parse(document.getElementById("data-launch").textContent);
const byId = (id) => document.getElementById(id);
const steps = [...document.querySelectorAll("ol.steps li")];
const stepOf = { waiting: 0, fetching: 1, building: 1, pushing: 1, unknown: 1, built: 2, launching: 2, ready: 3 };
const words = {
  fetching: "Fetching the repository.",
  building: "Building the environment. This happens once; later launches are quick.",
  pushing: "Storing the environment.",
};
const sequences = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const maxLogLines = 5000;
let token = config.buildToken;
let lastId = "";
let attempts = 0;
let silence;
let buildId = null; // of the build this launch waits for
const silentMilliseconds = 30000;

function showStep(current, failed = false) {
  steps.forEach((step, index) => {
    step.className = index < current ? "done" : index === current ? (failed ? "bad" : "now") : "";
    if (index === current) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
}

function addLine(text) {
  const log = byId("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(document.createTextNode(text));
  while (log.childNodes.length > maxLogLines) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function fail(message, hint, code) {
  const current = steps.findIndex((step) => step.className === "now");
  showStep(Math.max(current, 0), true);
  byId("problem-message").textContent = message.trim();
  byId("problem-hint").textContent = hint || "";
  if (code) byId("problem-code").textContent = `Code ${code}`;
  byId("problem-code").hidden = !code;
  byId("problem").hidden = false;
  byId("again").hidden = false;
  byId("goes-on").hidden = true;
  byId("status").textContent = "";
  showCancel(null);
  if (byId("log").textContent) byId("details").open = true;
  document.title = `Failed: ${document.title}`;
}

function showCancel(id) {
  buildId = id;
  byId("cancel").hidden = id === null;
}

async function cancel() {
  const button = byId("cancel").querySelector("button");
  button.disabled = true;
  try {
    const address = byId("cancel").dataset.builds + encodeURIComponent(buildId);
    const answer = await fetch(address, { method: "DELETE", headers: { "X-XSRFToken": config.xsrfToken } });
    // What becomes of the build is told by the event stream.
    if (!answer.ok) byId("status").textContent = (await answer.json()).error.message;
  } catch {
    byId("status").textContent = "The launcher could not be reached. Try again.";
  }
  button.disabled = false;
}

// Only a path the server composed, on this host and below the hub, is ever followed.
function sessionUrl(path) {
  const url = new URL(path, location.origin);
  return url.origin === location.origin && url.pathname.startsWith(config.hubBase) ? url : null;
}

function onEvent(data) {
  const phase = typeof data.phase === "string" ? data.phase.toLowerCase() : null;
  const message = String(data.message ?? "").replace(sequences, "");
  if (Object.hasOwn(stepOf, phase)) showStep(stepOf[phase]);
  if (phase === "built" || phase === "launching") showCancel(null);
  else if (typeof data.build_id === "string") showCancel(data.build_id);
  if (phase === "failed") return fail(message || "The launch failed.", data.hint, data.code);
  if (phase === "ready") {
    const url = sessionUrl(String(data.open_url ?? ""));
    byId("status").textContent = "Ready. Opening your session.";
    if (url) return location.replace(url);
    return fail("The session is ready, but its address is not on this hub.", "Open it from your JupyterHub home.");
  }
  if (message.trim()) {
    addLine(message);
    byId("status").textContent = data.queue_position
      ? `Waiting for its turn: position ${data.queue_position} in the queue.`
      : words[phase] || message.trim().split("\n").pop();
  }
  if (phase === "building") byId("details").open = true;
}

function open() {
  const url = new URL(config.eventsUrl, location.origin);
  url.searchParams.set("build_token", token);
  url.searchParams.set("_xsrf", config.xsrfToken);
  if (lastId) url.searchParams.set("last_event_id", lastId);
  else byId("log").textContent = "";
  const source = new EventSource(url);
  // A proxy may keep the connection of a service that died; silence is then all there is to notice.
  const watch = () => {
    clearTimeout(silence);
    silence = setTimeout(() => { source.close(); reconnect(); }, silentMilliseconds);
  };
  watch();
  source.onmessage = (message) => {
    watch();
    attempts = 0;
    if (message.lastEventId) lastId = message.lastEventId;
    const data = JSON.parse(message.data);
    if (data.phase === "ready" || data.phase === "failed") { source.close(); clearTimeout(silence); }
    onEvent(data);
  };
  source.onerror = () => {
    clearTimeout(silence);
    source.close(); // we reconnect ourselves: the token in the address may need renewing
    attempts += 1;
    byId("status").textContent = "The connection was lost. Connecting again…";
    setTimeout(reconnect, Math.min(30000, 500 * 2 ** Math.min(attempts, 6)));
  };
}

async function reconnect() {
  try {
    const answer = await fetch(config.renewUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-XSRFToken": config.xsrfToken },
      body: JSON.stringify({ spec: config.specPath, build_token: token }),
    });
    if (answer.ok) token = (await answer.json()).build_token;
    else if (answer.status < 500 && answer.status !== 429) {
      return fail("This page is out of date.", "Try again to go on where the launch is now.");
    }
  } catch {
    attempts += 1; // no network yet; opening the stream fails too and comes back here
  }
  open();
}

byId("cancel").addEventListener("click", cancel);
// A page shown ahead of the person's click must not do anything yet.
if (document.prerendering) document.addEventListener("prerenderingchange", open, { once: true });
else open();
