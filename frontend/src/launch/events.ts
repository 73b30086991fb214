/** What a launch says, as it comes out of the stream: BinderHub's phases and our additions to them. */

export type BuildPhase = "fetching" | "building" | "pushing";

export type LaunchEvent =
  | { kind: "waiting"; message: string; buildId?: string; queuePosition?: number }
  | { kind: "log"; stage: BuildPhase | undefined; message: string; buildId?: string }
  | { kind: "built"; message: string }
  | { kind: "launching"; message: string }
  | { kind: "ready"; openUrl: string }
  | { kind: "failed"; message: string; hint: string; code: string; status: number | undefined };

/** The event in the data of a message; undefined when it is none. Only known fields of the right type are taken. */
export function parseEvent(data: string): LaunchEvent | undefined {
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) return undefined;
  const fields = body as Record<string, unknown>;
  const message = text(fields.message);
  const build = typeof fields.build_id === "string" ? { buildId: fields.build_id } : {};
  switch (text(fields.phase).toLowerCase()) {
    case "waiting": {
      const position = fields.queue_position;
      return { kind: "waiting", message, ...build, ...(typeof position === "number" ? { queuePosition: position } : {}) };
    }
    case "fetching":
    case "building":
    case "pushing":
      return { kind: "log", stage: text(fields.phase).toLowerCase() as BuildPhase, message, ...build };
    case "built":
      return { kind: "built", message };
    case "launching":
      return { kind: "launching", message };
    case "ready":
      return { kind: "ready", openUrl: text(fields.open_url) };
    case "failed": {
      const status = typeof fields.status_code === "number" ? fields.status_code : undefined;
      return { kind: "failed", message: message.trim(), hint: text(fields.hint), code: text(fields.code), status };
    }
    default: // a log line before its build has a phase, or a phase of another version: words to show, nothing to do
      return { kind: "log", stage: undefined, message, ...build };
  }
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
