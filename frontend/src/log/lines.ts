/** The lines of a log as they come: thousands in a second, told to their reader a few times in one. */

const TELL_MILLISECONDS = 60;
// eslint-disable-next-line no-control-regex -- control characters are what this is about
const NOT_COLOURS = /\u001b\[[0-9;:?]*[ -/]*[@-ln-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g;
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[0-9;:]*m|\u001b/g;
const TROUBLE = /\b(?:error|failed|failure|exception|fatal|not found|no such|cannot|could not)\b|exit (?:code|status) [1-9]/i;
const TROUBLE_LINES = 200;

export class LogLines {
  private readonly kept: string[] = [];
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** Grows with every change that was told. */
  private told = 0;
  /** What was searched for last: how far, and in which lines it was. */
  private search = { wanted: "", end: 0, found: [] as number[] };

  /** Add text of whole lines. Of control sequences only colours stay. */
  add(text: string): void {
    const lines = text.replace(NOT_COLOURS, "").split("\n");
    if (lines.at(-1) === "") lines.pop();
    for (const line of lines) this.kept.push(line);
    this.timer ??= setTimeout(this.tell, TELL_MILLISECONDS);
  }

  clear(): void {
    this.kept.length = 0;
    this.search = { wanted: "", end: 0, found: [] };
    this.timer ??= setTimeout(this.tell, TELL_MILLISECONDS);
  }

  get count(): number {
    return this.kept.length;
  }

  /** A line with its colours; "" beyond the end. */
  line(index: number): string {
    return this.kept[index] ?? "";
  }

  /** The log without colours. */
  text(): string {
    return this.kept.map(plain).join("\n");
  }

  /** The numbers of the lines that hold the words, whatever their case. Asked again, only new lines are looked at. */
  find(words: string): number[] {
    const wanted = words.toLocaleLowerCase();
    if (wanted === "") return [];
    if (this.search.wanted !== wanted) this.search = { wanted, end: 0, found: [] };
    const { found } = this.search;
    for (; this.search.end < this.kept.length; this.search.end += 1) {
      if (plain(this.line(this.search.end)).toLocaleLowerCase().includes(wanted)) found.push(this.search.end);
    }
    return [...found];
  }

  /** The line that most likely says what went wrong: where the last lines of trouble begin; the last one for none. */
  trouble(message: string): number {
    const start = Math.max(0, this.kept.length - TROUBLE_LINES);
    let found = -1;
    for (let index = this.kept.length - 1; index >= start; index -= 1) {
      const text = plain(this.line(index));
      if (message !== "" && text.includes(message)) continue; // the launcher's own words, which the page shows anyway
      if (TROUBLE.test(text)) found = index;
      else if (found !== -1) break;
    }
    return found === -1 ? this.kept.length - 1 : found;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly version = (): number => this.told;

  private readonly tell = (): void => {
    this.timer = undefined;
    this.told += 1;
    for (const listener of this.listeners) listener();
  };
}

/** A line without its colours. */
export function plain(line: string): string {
  return line.includes("\u001b") ? line.replace(COLOURS, "") : line;
}
