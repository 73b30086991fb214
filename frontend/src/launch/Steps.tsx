import { type ReactNode, useEffect, useState } from "react";
import { duration } from "../common/duration";
import { t } from "../common/words";
import { type LaunchState, type Phase, PHASES } from "./state";

const TICK_MILLISECONDS = 500;
const WORTH_TELLING_SECONDS = 1;

/** The phases of a launch: which are over and how long they took, which is on, which are to come. */
export function Steps({ state }: { state: LaunchState }): ReactNode {
  const over = state.failure !== undefined || state.openUrl !== undefined;
  const now = useNow(!over);
  return (
    <ol className="steps" aria-label={t("launch.steps")}>
      {PHASES.map((phase) => {
        const look = lookOf(state, phase);
        const seconds = secondsOf(state, phase, now);
        return (
          <li key={phase} className={look} aria-current={look === "now" ? "step" : undefined}>
            <span className="name">{t(`launch.step_${phase}`)}</span>
            <span className="took">
              {look === "skipped" ? t("launch.step_skipped") : seconds >= WORTH_TELLING_SECONDS ? duration(seconds) : ""}
            </span>
            <span className="visually-hidden">{t(`launch.look_${look}`)}</span>
          </li>
        );
      })}
    </ol>
  );
}

type Look = "done" | "skipped" | "now" | "bad" | "todo";

function lookOf(state: LaunchState, phase: Phase): Look {
  const at = PHASES.indexOf(state.phase);
  const index = PHASES.indexOf(phase);
  if (index > at) return "todo";
  if (index < at) return state.began[phase] === undefined ? "skipped" : "done";
  if (state.failure) return "bad";
  return state.openUrl ? "done" : "now";
}

function secondsOf(state: LaunchState, phase: Phase, now: number): number {
  const began = state.began[phase];
  return began === undefined ? 0 : Math.max(0, (state.ended[phase] ?? now) - began) / 1000;
}

function useNow(runs: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!runs) return undefined;
    const timer = setInterval(() => setNow(Date.now()), TICK_MILLISECONDS);
    return () => clearInterval(timer);
  }, [runs]);
  return now;
}
