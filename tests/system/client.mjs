// Launches one repository with the npm package @jupyterhub/binderhub-client and prints each event as one line of JSON.
// node client.mjs <path of the package> <build endpoint> <provider spec> <options as JSON>
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, endpoint, spec, options] = process.argv.slice(2);
// What the package expects of a browser.
globalThis.window = globalThis;
globalThis.document = { cookie: "", hidden: false, addEventListener() {}, removeEventListener() {} };

const require = createRequire(modules);
const client = await import(pathToFileURL(require.resolve("@jupyterhub/binderhub-client/client.js")));
const repository = new client.BinderRepository(spec, new URL(endpoint), JSON.parse(options));
for await (const event of repository.fetch()) {
  console.log(JSON.stringify(event));
  if (event.phase === "ready" || event.phase === "failed") {
    repository.close();
    break;
  }
}
