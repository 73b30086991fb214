import { render, screen } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { Line } from "../src/log/Line";
import { LogLines } from "../src/log/lines";

function linesOf(...texts: string[]): LogLines {
  const lines = new LogLines();
  for (const text of texts) lines.add(text);
  return lines;
}

describe("lines", () => {
  it("are cut at their ends, and keep only colours", () => {
    const lines = linesOf("one\n", "\u001b[31mred\u001b[0m and \u001b]0;title\u0007done\u001b[2J\n", "two\nthree\n");
    expect([0, 1, 2, 3].map((index) => lines.line(index))).toEqual(["one", "\u001b[31mred\u001b[0m and done", "two", "three"]);
    expect(lines.text()).toBe("one\nred and done\ntwo\nthree");
  });

  it("are found whatever their case and colour", () => {
    const lines = linesOf("An Error\n", "fine\n", "an \u001b[31merr\u001b[0mor\n");
    expect(lines.find("ERROR")).toEqual([0, 2]);
    expect(lines.find("")).toEqual([]);
  });

  it("are found as they come, and not any more when the log begins anew", () => {
    const lines = linesOf("error\n", "fine\n");
    expect(lines.find("error")).toEqual([0]);
    lines.add("another error\n");
    expect(lines.find("error")).toEqual([0, 2]);
    expect(lines.find("fine")).toEqual([1]);
    lines.clear();
    lines.add("fine\nerror\n");
    expect(lines.find("fine")).toEqual([0]);
    expect(lines.find("error")).toEqual([1]);
  });

  it("tell a flood a few times only", () => {
    vi.useFakeTimers();
    const lines = new LogLines();
    const told = vi.fn();
    lines.subscribe(told);
    for (let line = 0; line < 50_000; line += 1) lines.add(`line ${line}\n`);
    vi.advanceTimersByTime(100);
    expect(told).toHaveBeenCalledTimes(1);
    expect(lines.count).toBe(50_000);
    vi.useRealTimers();
  });

  it("know where the trouble begins", () => {
    const lines = linesOf("fine\n", "Traceback\n", "error: no such file\n", "error: again\n", "see above\n", "postBuild failed. See the log.\n");
    expect(lines.trouble("postBuild failed.")).toBe(2);
    expect(linesOf("a\n", "b\n").trouble("x")).toBe(1);
    expect(linesOf().trouble("x")).toBe(-1);
  });
});

describe("a line", () => {
  it("shows colours as classes and markup as text", () => {
    const { container } = render(<Line text={"\u001b[1;31m<b>bad</b>\u001b[0m <script>x</script>"} search="" />);
    expect(container.textContent).toBe("<b>bad</b> <script>x</script>");
    expect(container.querySelector(".fg-ansi-red.bold")?.textContent).toBe("<b>bad</b>");
    expect(container.querySelectorAll("b, script, [style]").length).toBe(0);
  });

  it("marks what is searched for", () => {
    render(<p data-testid="line"><Line text="Error and error" search="error" /></p>);
    const marks = screen.getByTestId("line").querySelectorAll("mark");
    expect([...marks].map((mark) => mark.textContent)).toEqual(["Error", "error"]);
  });
});
