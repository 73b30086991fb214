import type { ReactNode } from "react";
import { InEnglish } from "../common/InEnglish";
import { meaning, t } from "../common/words";
import type { LaunchPage } from "./requests";
import type { Failure } from "./state";

/** What happened, what to do about it, and the way to try again. */
export function FailureBox({ failure, page }: { failure: Failure; page: LaunchPage }): ReactNode {
  const means = failure.code && meaning(failure.code);
  return (
    <>
      <div className="problem" role="alert">
        <strong>{means || (failure.code && failure.message ? <InEnglish text={failure.message} /> : failure.message || t("launch.failed"))}</strong>
        {means && (
          <p className="hint">
            <InEnglish text={failure.message} />
          </p>
        )}
        {failure.hint && <p className="hint">{failure.code ? <InEnglish text={failure.hint} /> : failure.hint}</p>}
      </div>
      <div className="actions">
        <a className="button" href={page.again}>
          {t("common.try_again")}
        </a>
        <a className="button second" href={page.home}>
          {t("common.home_page")}
        </a>
        {failure.code && (
          <span className="small code">
            {t("common.code")}{" "}
            <a href={`${page.errorsUrl}#${failure.code}`} target="_blank" rel="noopener">
              <code>{failure.code}</code>
            </a>
          </span>
        )}
      </div>
    </>
  );
}
