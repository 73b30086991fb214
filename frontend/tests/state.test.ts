import { describe, expect, it } from "vitest";
import { type LaunchEvent, parseEvent } from "../src/launch/events";
import { begin, type LaunchState, reduce, sessionAddress } from "../src/launch/state";
import { recorded } from "./support";

function played(name: string, upTo?: number): LaunchState {
  const events = recorded(name)
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => parseEvent(line.slice("data: ".length)))
    .filter((event): event is LaunchEvent => event !== undefined);
  let now = 0;
  return events.slice(0, upTo).reduce((state, event) => reduce(state, { kind: "event", event, now: (now += 1000) }), begin(0));
}

describe("the phases", () => {
  it("know their times", () => {
    const state = played("build");
    expect(state.began).toEqual({ prepare: 0, queue: 1000, environment: 3000, session: 7000 });
    expect(state.ended).toEqual({ prepare: 1000, queue: 3000, environment: 7000, session: 9000 });
    expect(state.openUrl).toBe("/user/a/b/lab");
  });

  it("know the place in the queue only while there is one", () => {
    expect(played("build", 1).queuePosition).toBe(2);
    expect(played("build", 2).queuePosition).toBe(0);
    expect(played("build", 3).queuePosition).toBeUndefined();
  });

  it("stop where it failed", () => {
    const state = played("failed");
    expect(state.failure).toEqual({ message: "There is no package nope.", hint: "Check its name.", code: "build_failed" });
    expect([state.phase, state.openUrl]).toEqual(["environment", undefined]);
  });

  it("never go back, when a stream is told again from its start", () => {
    const state = reduce(played("build", 5), { kind: "event", event: { kind: "waiting", message: "", queuePosition: 1 }, now: 9 });
    expect(state.phase).toBe("environment");
  });
});

describe("the way to the session", () => {
  const at = (path: string) => sessionAddress(path, "/jhub/", "https://hub.test")?.href;

  it("is a path on this host below the hub", () => {
    expect(at("/jhub/user/a/b/lab?x=1#y")).toBe("https://hub.test/jhub/user/a/b/lab?x=1#y");
  });

  it.each(["", "https://evil.test/jhub/", "//evil.test/jhub/", "/\\evil.test/jhub/", "javascript:alert(1)", "/elsewhere/", "/jhub/../x", "/jhub/..\\..\\x", "jhub/"])(
    "is never %s",
    (path) => expect(at(path)).toBeUndefined(),
  );
});
