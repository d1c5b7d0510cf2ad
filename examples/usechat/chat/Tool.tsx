/** A tool's call as a card: running, in progress, done, failed, or waiting for the user's decision. */
import { type DynamicToolUIPart, getToolName, type ToolUIPart } from "ai";

type Part = ToolUIPart | DynamicToolUIPart;

/** `busy`: whether the answer still comes. `decide`: sends the user's decision to the router. */
export function Tool({ part, busy, decide }: { part: Part; busy: boolean; decide: (id: string, approved: boolean) => void }) {
  const { kind, label } = stateOf(part, busy);
  const asked = part.state === "approval-requested" ? part.approval.id : undefined;
  const inProgress = part.state === "output-available" && part.preliminary;
  return (
    <section className={`fold tool ${kind}`} aria-label={`Tool ${getToolName(part)}`}>
      <details open={asked !== undefined || inProgress || undefined}>
        <summary>
          <code>{getToolName(part)}</code>
          <span className="brief">{brief(part.input)}</span>
          <span className="state">{label}</span>
        </summary>
        <Value title="Input" value={part.input} />
        {part.state === "output-available" && <Value title={inProgress ? "So far" : "Result"} value={part.output} />}
        {part.state === "output-error" && <Value title="Error" value={part.errorText} />}
      </details>
      {asked !== undefined && (
        <div className="decision" role="group" aria-label="Allow this tool to run?">
          <p>Allow this tool to run with this input?</p>
          <button type="button" className="primary" onClick={() => decide(asked, true)}>
            Allow
          </button>
          <button type="button" onClick={() => decide(asked, false)}>
            Don’t allow
          </button>
        </div>
      )}
    </section>
  );
}

function stateOf(part: Part, busy: boolean): { kind: string; label: string } {
  switch (part.state) {
    case "output-available":
      return part.preliminary && busy ? { kind: "running", label: "Running…" } : { kind: "done", label: "Done" };
    case "output-error":
      return { kind: "failed", label: "Failed" };
    case "output-denied":
      return { kind: "failed", label: "Not allowed" };
    case "approval-requested":
      return { kind: "asking", label: "Waits for you" };
    case "approval-responded":
      if (!part.approval.approved) return { kind: "failed", label: "Not allowed" };
      return busy ? { kind: "running", label: "Running…" } : { kind: "", label: "Allowed" };
    default:
      return busy ? { kind: "running", label: "Running…" } : { kind: "", label: "Stopped" };
  }
}

function Value({ title, value }: { title: string; value: unknown }) {
  if (value === undefined) return null;
  return (
    <>
      <h3>{title}</h3>
      <pre tabIndex={0}>{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>
    </>
  );
}

function brief(input: unknown): string {
  return input && typeof input === "object" ? Object.values(input).map(String).join(", ") : "";
}
