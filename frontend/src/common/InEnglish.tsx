import type { ReactNode } from "react";
import { isEnglish } from "./words";

/** A sentence that nobody translates: pages in other languages say that it is English. */
export function InEnglish({ text }: { text: string }): ReactNode {
  if (isEnglish()) return text;
  return (
    <span lang="en" dir="ltr">
      {text}
    </span>
  );
}
