import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const pages = readdirSync("src/pages").filter((name) => /\.tsx?$/.test(name));

/** The server sends these as they are: compressing once is enough. */
function compressed(): Plugin {
  return {
    name: "compressed",
    writeBundle({ dir = "dist" }, files) {
      for (const name of Object.keys(files).filter((name) => /\.(js|css)$/.test(name))) {
        writeFileSync(join(dir, `${name}.gz`), gzipSync(readFileSync(join(dir, name)), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), compressed()],
  base: "./", // the service's prefix is the operator's choice
  build: {
    outDir: "dist",
    manifest: "manifest.json",
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the pages' policy allows no data: files of ours
    rollupOptions: {
      input: {
        style: "src/styles/style.css",
        ...Object.fromEntries(pages.map((name) => [basename(name).replace(/\.tsx?$/, ""), `src/pages/${name}`])),
      },
    },
  },
});
