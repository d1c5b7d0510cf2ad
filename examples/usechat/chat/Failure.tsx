/** An error in plain words, with a button to try again. Where the router says how long to wait, the button counts down. */
import { useEffect, useState } from "react";
import { explain } from "./refusal";

export function Failure({ error, again }: { error: Error; again: () => void }) {
  const { title, detail, wait } = explain(error);
  const [left, setLeft] = useState(wait);
  useEffect(() => setLeft(wait), [error, wait]);
  useEffect(() => {
    if (left <= 0) return;
    const timer = setTimeout(() => setLeft(left - 1), 1000);
    return () => clearTimeout(timer);
  }, [left]);

  return (
    <div className="failure" role="alert">
      <p>
        <strong>{title}</strong> {detail}
      </p>
      <button type="button" disabled={left > 0} onClick={again}>
        {left > 0 ? `Try again in ${left > 90 ? `${Math.ceil(left / 60)} min` : `${left} s`}` : "Try again"}
      </button>
    </div>
  );
}
