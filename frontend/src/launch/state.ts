/** What is known of a launch: a function of the events so far and of when they came. */
import type { LaunchEvent } from "./events";

export const PHASES = ["prepare", "queue", "environment", "session"] as const;
export type Phase = (typeof PHASES)[number];

export interface Failure {
  message: string;
  hint: string;
  code: string;
}

export interface LaunchState {
  phase: Phase;
  /** When each phase began, milliseconds since the epoch; a phase that was skipped has none. */
  began: Partial<Record<Phase, number>>;
  ended: Partial<Record<Phase, number>>;
  /** The newest words of the phases without a log. */
  message: string;
  buildId: string | undefined;
  /** Builds in front of ours, while it waits. */
  queuePosition: number | undefined;
  /** Attempts in a row to connect again; 0 while connected. */
  lost: number;
  failure: Failure | undefined;
  openUrl: string | undefined;
}

export type LaunchAction =
  | { kind: "event"; event: LaunchEvent; now: number }
  | { kind: "lost"; attempt: number }
  | { kind: "refused"; failure: Failure; now: number };

export function begin(now: number): LaunchState {
  return {
    phase: "prepare",
    began: { prepare: now },
    ended: {},
    message: "",
    buildId: undefined,
    queuePosition: undefined,
    lost: 0,
    failure: undefined,
    openUrl: undefined,
  };
}

export function reduce(state: LaunchState, action: LaunchAction): LaunchState {
  switch (action.kind) {
    case "lost":
      return { ...state, lost: action.attempt };
    case "refused":
      return fail(state, action.failure, action.now);
    case "event":
      return told({ ...state, lost: 0 }, action.event, action.now);
  }
}

function told(state: LaunchState, event: LaunchEvent, now: number): LaunchState {
  switch (event.kind) {
    case "waiting": {
      const known = { ...state, message: event.message, buildId: event.buildId ?? state.buildId };
      if (event.queuePosition === undefined) return known;
      return enter({ ...known, queuePosition: event.queuePosition }, "queue", now);
    }
    case "log":
      return enter({ ...state, buildId: event.buildId ?? state.buildId, queuePosition: undefined }, "environment", now);
    case "built":
    case "launching":
      return enter({ ...state, message: event.message, queuePosition: undefined }, "session", now);
    case "ready":
      return { ...state, openUrl: event.openUrl, ended: { ...state.ended, [state.phase]: now } };
    case "failed":
      return fail(state, event, now);
  }
}

function enter(state: LaunchState, phase: Phase, now: number): LaunchState {
  if (PHASES.indexOf(phase) <= PHASES.indexOf(state.phase)) return state;
  return {
    ...state,
    phase,
    began: { ...state.began, [phase]: now },
    ended: { ...state.ended, [state.phase]: now },
  };
}

function fail(state: LaunchState, { message, hint, code }: Failure, now: number): LaunchState {
  return {
    ...state,
    failure: { message, hint, code },
    queuePosition: undefined,
    lost: 0,
    ended: { ...state.ended, [state.phase]: now },
  };
}

/** The address of the session, only if it is a path on this host below the hub. */
export function sessionAddress(path: string, hubBase: string, origin: string): URL | undefined {
  if (!path.startsWith("/")) return undefined;
  let url: URL;
  try {
    url = new URL(path, origin);
  } catch {
    return undefined;
  }
  return url.origin === origin && url.pathname.startsWith(hubBase) ? url : undefined;
}
