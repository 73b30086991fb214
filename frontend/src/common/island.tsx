import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";

/** Put React in place of what the server rendered into the element; a page without the element is left alone. */
export function island(id: string, make: (element: HTMLElement) => ReactNode): void {
  const element = document.getElementById(id);
  if (element !== null) createRoot(element).render(<StrictMode>{make(element)}</StrictMode>);
}
