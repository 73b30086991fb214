/** What the server put into the page for its scripts: JSON in elements that browsers do not run. */

/** The data of `<script type="application/json" id="data-…">`, or undefined when the page has none. */
export function pageData<T>(name: string): T | undefined {
  const text = document.getElementById(`data-${name}`)?.textContent;
  return text ? (JSON.parse(text) as T) : undefined;
}
