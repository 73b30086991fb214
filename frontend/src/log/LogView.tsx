import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useDeferredValue, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { t } from "../common/words";
import { Line } from "./Line";
import type { LogLines } from "./lines";

const LINE_PIXELS = 20;
const AT_END_PIXELS = 48;
const COPIED_MILLISECONDS = 2000;

export interface LogViewProps {
  lines: LogLines;
  /** The build is over badly, in these words: show the line that says why instead of the end. */
  failure?: string | undefined;
  /** Address of the log as text, when there is one. */
  address?: string | undefined;
}

/** The log of a build: only what is seen is drawn, whatever its length. */
export function LogView({ lines, failure, address }: LogViewProps): ReactNode {
  const version = useSyncExternalStore(lines.subscribe, lines.version);
  const box = useRef<HTMLDivElement>(null);
  const [follows, setFollows] = useState(true);
  const [search, setSearch] = useState("");
  const wanted = useDeferredValue(search);
  const [current, setCurrent] = useState(-1);
  const [troubleLine, setTroubleLine] = useState(-1);
  const found = useMemo(() => lines.find(wanted), [lines, wanted, version]);
  const rows = useVirtualizer({
    count: lines.count,
    getScrollElement: () => box.current,
    estimateSize: () => LINE_PIXELS,
    overscan: 12,
  });

  useEffect(() => {
    if (follows && lines.count > 0) rows.scrollToIndex(lines.count - 1, { align: "end" });
  }, [follows, version, lines, rows]);

  useEffect(() => {
    if (failure === undefined) return undefined;
    const timer = setTimeout(() => {
      const line = lines.trouble(failure);
      setFollows(false);
      setTroubleLine(line);
      if (line >= 0) rows.scrollToIndex(line, { align: "center" });
    }, 100); // after the last lines were drawn
    return () => clearTimeout(timer);
  }, [failure, lines, rows]);

  const show = (index: number): void => {
    const line = found[index];
    if (line === undefined) return;
    setFollows(false);
    setCurrent(index);
    rows.scrollToIndex(line, { align: "center" });
  };
  const step = (by: number): void => show(found.length === 0 ? -1 : (current + by + found.length) % found.length);
  const onScroll = (): void => {
    const element = box.current;
    if (element && element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PIXELS && !failure) setFollows(true);
  };

  return (
    <div className="logview">
      <div className="logtools">
        <input
          type="search"
          value={search}
          aria-label={t("log.search")}
          placeholder={t("log.search")}
          onChange={(event) => (setSearch(event.target.value), setCurrent(-1))}
          onKeyDown={(event) => {
            if (event.key === "Enter") (event.preventDefault(), step(event.shiftKey ? -1 : 1));
          }}
        />
        <span className="found" role="status">
          {search === "" ? "" : found.length === 0 ? t("log.nothing") : t("log.found", { at: current + 1, count: found.length })}
        </span>
        {search !== "" && (
          <>
            <ToolButton label={t("log.previous")} sign="↑" disabled={found.length === 0} onPress={() => step(-1)} />
            <ToolButton label={t("log.next")} sign="↓" disabled={found.length === 0} onPress={() => step(1)} />
          </>
        )}
        <label className="switch">
          <input type="checkbox" checked={follows} onChange={(event) => setFollows(event.target.checked)} />
          {t("log.follow")}
        </label>
        <CopyButton text={() => lines.text()} />
        {address && (
          <a className="tool" href={address} target="_blank" rel="noopener">
            {t("log.raw")}
          </a>
        )}
      </div>
      <div
        className="log"
        ref={box}
        role="log"
        aria-live="off"
        aria-label={t("log.label")}
        tabIndex={0}
        onScroll={onScroll}
        onWheel={(event) => event.deltaY < 0 && setFollows(false)}
        onTouchMove={() => setFollows(false)}
        onKeyDown={(event) => ["ArrowUp", "PageUp", "Home"].includes(event.key) && setFollows(false)}
      >
        <div className="lines" style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((row) => (
            <div
              key={row.key}
              ref={rows.measureElement}
              data-index={row.index}
              className={lineClass(row.index, found[current], troubleLine)}
              style={{ transform: `translateY(${row.start}px)` }}
            >
              <Line text={lines.line(row.index)} search={wanted} />
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

function lineClass(index: number, current: number | undefined, trouble: number): string {
  return `line${index === current ? " current" : ""}${index === trouble ? " trouble" : ""}`;
}

interface ToolButtonProps {
  label: string;
  sign: string;
  disabled: boolean;
  onPress: () => void;
}

function ToolButton({ label, sign, disabled, onPress }: ToolButtonProps): ReactNode {
  return (
    <button type="button" className="tool" aria-label={label} title={label} disabled={disabled} onClick={onPress}>
      <span aria-hidden="true">{sign}</span>
    </button>
  );
}

/** A button that copies a text and says so. */
export function CopyButton({ text, label }: { text: () => string; label?: string }): ReactNode {
  const [copied, setCopied] = useState<"" | "copied" | "refused">("");
  useEffect(() => {
    if (copied === "") return undefined;
    const timer = setTimeout(() => setCopied(""), COPIED_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text());
      setCopied("copied");
    } catch {
      setCopied("refused"); // browsers refuse pages without https on other hosts than this one
    }
  };
  return (
    <button type="button" className="tool" onClick={() => void copy()}>
      <span aria-live="polite">{copied === "" ? (label ?? t("log.copy")) : t(copied === "copied" ? "log.copied" : "log.refused")}</span>
    </button>
  );
}
