/** What the launch page asks the server, and the page's own build token, which it renews before it asks again. */
import type { components } from "../api/schema";
import { t } from "../common/words";
import { StreamRefused } from "./eventStream";

type Answers = components["schemas"];

/** What the server puts into the page. */
export interface LaunchPage {
  name: string;
  buildToken: string;
  xsrfToken: string;
  specPath: string;
  eventsUrl: string;
  renewUrl: string;
  buildsUrl: string;
  errorsUrl: string;
  hubBase: string;
  again: string;
  home: string;
}

export interface LaunchRequests {
  /** The stream from after an event. Renews the build token for every one but the first. */
  events(lastId: string): Promise<Request>;
  /** Cancel a build; why that was refused, or "". */
  cancel(buildId: string): Promise<string>;
  /** The address of the build's page for others; "" when there is none. */
  share(buildId: string): Promise<string>;
}

export function requests(page: LaunchPage): LaunchRequests {
  const headers = { "X-XSRFToken": page.xsrfToken };
  let token = page.buildToken;
  let asked = false;

  async function renew(): Promise<void> {
    const response = await fetch(page.renewUrl, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify({ spec: page.specPath, build_token: token } satisfies Answers["BuildTokenWish"]),
    });
    if (response.ok) token = ((await response.json()) as Answers["BuildTokenAnswer"]).build_token;
    else if (response.status < 500 && response.status !== 429) throw new StreamRefused(response.status);
  }

  return {
    async events(lastId) {
      if (asked) await renew();
      asked = true;
      const url = new URL(page.eventsUrl, location.origin);
      url.searchParams.set("build_token", token);
      const resume: Record<string, string> = lastId ? { "Last-Event-ID": lastId } : {};
      return new Request(url, { headers: { ...headers, ...resume, Accept: "text/event-stream" }, cache: "no-store" });
    },
    async cancel(buildId) {
      try {
        const response = await fetch(page.buildsUrl + encodeURIComponent(buildId), { method: "DELETE", headers });
        return response.ok ? "" : ((await response.json()) as Answers["ProblemAnswer"]).error.message;
      } catch {
        return t("launch.unreachable");
      }
    },
    async share(buildId) {
      try {
        const response = await fetch(`${page.buildsUrl}${encodeURIComponent(buildId)}/share`, { headers });
        return response.ok ? ((await response.json()) as Answers["ShareAnswer"]).share.url : "";
      } catch {
        return "";
      }
    },
  };
}
