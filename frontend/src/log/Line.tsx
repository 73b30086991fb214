import Anser from "anser";
import { memo, type ReactNode } from "react";
import { plain } from "./lines";

/** One line: colours as classes of ours, the words that are searched for marked. Text stays text. */
export const Line = memo(function Line({ text, search }: { text: string; search: string }): ReactNode {
  if (!text.includes("\u001b")) return marked(text, search);
  if (search && plain(text).toLocaleLowerCase().includes(search.toLocaleLowerCase())) return marked(plain(text), search);
  return Anser.ansiToJson(text, { use_classes: true, remove_empty: true }).map((piece, index) => (
    <span key={index} className={classes(piece.fg, piece.bg, piece.decorations)}>
      {piece.content}
    </span>
  ));
});

function classes(foreground: string | null, background: string | null, decorations: readonly string[]): string {
  const colours = [foreground && `fg-${foreground}`, background && `bg-${background}`];
  return [...colours, ...decorations].filter((name) => name && /^[a-z-]+$/.test(name)).join(" ");
}

function marked(text: string, search: string): ReactNode {
  if (search === "") return text || "\u200b"; // an empty line has a height too
  const lower = text.toLocaleLowerCase();
  const wanted = search.toLocaleLowerCase();
  const pieces: ReactNode[] = [];
  let end = 0;
  for (let at = lower.indexOf(wanted); at !== -1; at = lower.indexOf(wanted, end)) {
    pieces.push(text.slice(end, at), <mark key={at}>{text.slice(at, at + wanted.length)}</mark>);
    end = at + wanted.length;
  }
  pieces.push(text.slice(end));
  return text ? pieces : "\u200b";
}
