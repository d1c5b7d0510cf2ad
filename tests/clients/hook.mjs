// A React hook, held outside a page: rendered for real, its last value at hand.
import { createElement } from "react";
import { create } from "react-test-renderer";
import { SWRConfig } from "swr";

/** Renders a hook until it is left. `current`: what it returned last; `watch`: called with that after each render. */
export class Held {
  watch = () => {};

  constructor(hook) {
    const Page = () => {
      this.current = hook();
      queueMicrotask(() => this.watch(this.current)); // what watches may act, which no render may
      return null;
    };
    // AI SDK 4 keeps its chats in SWR's cache; a page that is opened again has an empty one.
    this.root = create(createElement(SWRConfig, { value: { provider: () => new Map() } }, createElement(Page)));
  }

  /** Waits until this is true of what the hook returned. */
  async until(holds) {
    while (!holds(this.current)) await new Promise((resolve) => setTimeout(resolve, 1));
    return this.current;
  }

  /** What a closed tab does. */
  leave() {
    this.root.unmount();
  }
}

/** Effects and state that are still under way have settled. */
export async function settled() {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
