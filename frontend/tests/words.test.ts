import { beforeEach, describe, expect, it } from "vitest";
import words from "../../launcher/web/words/en.json";
import { duration } from "../src/common/duration";
import { t } from "../src/common/words";

beforeEach(() => {
  document.documentElement.lang = "en";
  const element = document.createElement("script");
  Object.assign(element, { type: "application/json", id: "data-words", textContent: JSON.stringify(words) });
  document.head.replaceChildren(element);
});

describe("words", () => {
  it("are those of the page, with their names filled in", () => {
    expect(t("launch.title_failed", { repository: "org/$&repo" })).toBe("Failed: org/$&repo");
    expect(t("launch.status_queue", { count: 1 })).toBe("One build is in front of yours.");
    expect(t("launch.status_queue", { count: 1200 })).toBe("1,200 builds are in front of yours.");
  });
});

describe("a duration", () => {
  it.each([[0, "0s"], [59.9, "59s"], [65, "1m 5s"], [4800, "1h 20m"]])("of %d seconds is %s", (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });
});
