// The releases of `ai` that the aliases of package.json bring with them.
import { existsSync, readFileSync } from "node:fs";

/** The `ai` that a release of @ai-sdk/react was made with. */
export async function aiOf(client) {
  const own = new URL(`node_modules/${client}/node_modules/ai/`, import.meta.url);
  const home = existsSync(own) ? own : new URL("node_modules/ai/", import.meta.url);
  const { exports } = JSON.parse(readFileSync(new URL("package.json", home), "utf8"));
  const entry = exports["."].import ?? exports["."].default;
  return import(new URL(entry.default ?? entry, home).href);
}

