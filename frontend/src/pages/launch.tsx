import { island } from "../common/island";
import { pageData } from "../common/page";
import { Launch } from "../launch/Launch";
import type { LaunchPage } from "../launch/requests";

const page = pageData<LaunchPage>("launch");

function start(): void {
  if (page !== undefined) island("launch", () => <Launch page={page} />);
}

// A page shown ahead of the person's click must not do anything yet.
if ("prerendering" in document && document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
else start();
