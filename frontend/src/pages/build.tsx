// The page of one build: its log as it grows, in place of the end that the server rendered.
import { pageData } from "../common/page";
import { island } from "../common/island";
import { followLog } from "../log/follow";
import { LogLines } from "../log/lines";
import { LogView } from "../log/LogView";

interface Build {
  /** Address of the log's event stream. */
  events: string;
  /** Address of the log as text. */
  text: string;
  /** The token of the page's forms: without it the cookie counts for navigation only. */
  xsrf: string;
  /** Whether the build may still write. */
  open: boolean;
  /** What it ended with. */
  failure: string | null;
}

const build = pageData<Build>("build");
if (build !== undefined) {
  const lines = new LogLines();
  const rendered = document.querySelector("#log-island pre")?.textContent ?? "";
  island("log-island", () => <LogView lines={lines} failure={build.failure ?? undefined} address={build.text} />);
  void followLog(build.events, lines, { xsrf: build.xsrf, signal: new AbortController().signal }).then((told) => {
    if (!told && lines.count === 0) lines.add(rendered);
    if (told && build.open) location.reload(); // what became of it is for the server to say
  });
}
