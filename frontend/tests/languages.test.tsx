import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { beforeEach, describe, expect, it, vi } from "vitest";

const words = {
  codes: { ref_not_found: "אין ענף כזה" },
  common: { try_again: "שוב", home_page: "בית", code: "קוד" },
  launch: { failed: "נכשל" },
  days: { passed: { one: "יום", two: "יומיים", other: "{count} ימים" } },
};
const page = { again: "/again", home: "/", errorsUrl: "/errors" } as never;

beforeEach(() => {
  vi.resetModules();
  document.documentElement.lang = "he";
  const element = document.createElement("script");
  Object.assign(element, { type: "application/json", id: "data-words", textContent: JSON.stringify(words) });
  document.head.replaceChildren(element);
});

async function shown(failure: { message: string; hint: string; code: string }): Promise<string> {
  const { FailureBox } = await import("../src/launch/FailureBox");
  return renderToStaticMarkup(createElement(FailureBox, { failure, page }));
}

describe("a page in another language", () => {
  it("says what a code means, and that the launcher's own sentence is English", async () => {
    const box = await shown({ message: "There is no branch mian.", hint: "Check it.", code: "ref_not_found" });
    expect(box).toContain("<strong>אין ענף כזה</strong>");
    expect(box).toContain('<span lang="en" dir="ltr">There is no branch mian.</span>');
    expect(box).toContain('<span lang="en" dir="ltr">Check it.</span>');
  });

  it("shows a failure of an unknown code in English, and the page's own words as they are", async () => {
    expect(await shown({ message: "Odd.", hint: "", code: "new_code" })).toContain('<strong><span lang="en" dir="ltr">Odd.');
    expect(await shown({ message: "נותק", hint: "", code: "" })).toContain("<strong>נותק</strong>");
    expect(await shown({ message: "", hint: "", code: "" })).toContain("<strong>נכשל</strong>");
  });

  it("has the plural forms of its language", async () => {
    const { t } = await import("../src/common/words");
    const said = [1, 2, 3].map((count) => t("days.passed" as never, { count }));
    expect(said).toEqual(["יום", "יומיים", "3 ימים"]);
  });
});
