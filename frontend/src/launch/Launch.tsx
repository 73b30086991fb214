import { type ReactNode, useEffect, useMemo, useReducer, useState } from "react";
import { InEnglish } from "../common/InEnglish";
import { isEnglish, t, type WordKey } from "../common/words";
import { LogLines } from "../log/lines";
import { CopyButton, LogView } from "../log/LogView";
import { parseEvent } from "./events";
import { follow, StreamRefused } from "./eventStream";
import { FailureBox } from "./FailureBox";
import { type LaunchPage, requests } from "./requests";
import { begin, type LaunchState, reduce, sessionAddress } from "./state";
import { Steps } from "./Steps";

/** One launch: follows it, shows how it goes on, and goes to the session when it is ready. */
export function Launch({ page }: { page: LaunchPage }): ReactNode {
  const [state, dispatch] = useReducer(reduce, Date.now(), begin);
  const lines = useMemo(() => new LogLines(), []);
  const [logOpen, setLogOpen] = useState<boolean>();
  const [note, setNote] = useState("");
  const [away, setAway] = useState(false);

  useEffect(() => {
    const closed = new AbortController();
    const asking = requests(page);
    const started = follow({
      signal: closed.signal,
      request: async (lastId) => {
        if (lastId === "") lines.clear();
        return asking.events(lastId);
      },
      onEvent: (message) => {
        const event = parseEvent(message.data);
        if (event === undefined) return false;
        if (event.kind === "log" || (event.kind === "waiting" && event.queuePosition === undefined)) lines.add(event.message);
        dispatch({ kind: "event", event, now: Date.now() });
        return event.kind === "ready" || event.kind === "failed";
      },
      onLost: (attempt) => dispatch({ kind: "lost", attempt }),
    });
    started.catch((error: unknown) => {
      if (closed.signal.aborted) return;
      const key = error instanceof StreamRefused && [401, 403].includes(error.status) ? "session_expired" : "out_of_date";
      const failure = { message: t(`launch.${key}`), hint: t(`launch.${key}_hint`), code: "" };
      dispatch({ kind: "refused", failure, now: Date.now() });
    });
    return () => closed.abort();
  }, [lines, page]);

  useEffect(() => {
    if (state.openUrl === undefined) return;
    const address = sessionAddress(state.openUrl, page.hubBase, location.origin);
    if (address === undefined) {
      const failure = { message: t("launch.foreign"), hint: t("launch.foreign_hint"), code: "" };
      dispatch({ kind: "refused", failure, now: Date.now() });
    } else {
      setAway(true);
      location.replace(address);
    }
  }, [state.openUrl, page]);

  useEffect(() => {
    const { name } = page;
    if (state.failure) {
      document.title = t("launch.title_failed", { repository: name });
      setText("heading", t("launch.heading_failed", { repository: name }));
      document.getElementById("waiting")?.remove();
    } else if (state.openUrl) document.title = t("launch.title_ready", { repository: name });
  }, [state.failure, state.openUrl, page]);

  const cancel = async (): Promise<void> => setNote(state.buildId ? await requests(page).cancel(state.buildId) : "");
  const share = async (): Promise<string> => (state.buildId ? requests(page).share(state.buildId) : "");
  const over = state.failure !== undefined || state.openUrl !== undefined;
  const building = !over && (state.phase === "queue" || state.phase === "environment");
  const open = logOpen ?? (state.phase === "environment" || (state.failure !== undefined && lines.count > 0));
  return (
    <>
      <Steps state={state} />
      {!state.failure && (
        <p className="status" role="status">
          {note ? <InEnglish text={note} /> : away ? t("launch.status_ready") : statusOf(state)}
        </p>
      )}
      {state.failure && <FailureBox failure={state.failure} page={page} />}
      {(state.buildId !== undefined || lines.count > 0) && (
        <details className="logpane" open={open} onToggle={(event) => setLogOpen(event.currentTarget.open)}>
          <summary>{t("log.label")}</summary>
          <LogView
            lines={lines}
            failure={state.failure?.message}
            address={state.buildId && `${page.buildsUrl}${encodeURIComponent(state.buildId)}/log`}
          />
        </details>
      )}
      {state.buildId !== undefined && (
        <div className="actions quiet">
          {building && (
            <button type="button" className="button second" onClick={() => void cancel()}>
              {t("launch.cancel")}
            </button>
          )}
          <ShareBuild key={state.buildId} share={share} />
        </div>
      )}
      {!over && <p className="small">{t("launch.close")}</p>}
    </>
  );
}

function setText(id: string, text: string): void {
  const element = document.getElementById(id);
  if (element !== null) element.textContent = text;
}

function statusOf(state: LaunchState): string {
  if (state.lost > 0) return t("launch.status_lost");
  switch (state.phase) {
    case "prepare":
      return t("launch.status_prepare");
    case "queue":
      if (state.queuePosition === undefined) return t("launch.status_prepare");
      return state.queuePosition === 0 ? t("launch.status_next") : t("launch.status_queue", { count: state.queuePosition });
    case "environment":
      return t("launch.status_environment");
    case "session":
      return (isEnglish() && state.message.trim()) || t("launch.status_session");
  }
}

/** Asks for the address of the build's page and shows it to be copied. */
function ShareBuild({ share }: { share: () => Promise<string> }): ReactNode {
  const [address, setAddress] = useState<string>();
  const [trouble, setTrouble] = useState<WordKey>();
  const ask = async (): Promise<void> => {
    const found = await share();
    if (found) setAddress(found);
    else setTrouble("launch.share_refused");
  };
  if (address === undefined) {
    return (
      <button type="button" className="button second" onClick={() => void ask()}>
        {t(trouble ?? "launch.share")}
      </button>
    );
  }
  return (
    <span className="shared">
      <input readOnly value={address} aria-label={t("launch.share_address")} autoFocus onFocus={(event) => event.target.select()} />
      <CopyButton text={() => address} />
    </span>
  );
}
