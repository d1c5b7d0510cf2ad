/** The models that the router lists for this caller. */
import { useEffect, useState } from "react";
import { ask } from "./refusal";

/** What /api/models says of a model, as far as this page uses it. `name`: that of the model behind the id. */
export interface Model {
  id: string;
  name: string;
  input_modalities: string[];
}

/** The list, empty until it is there. `reload` asks for it again, for instance when the router is back. */
export function useModels(router: string, headers: Record<string, string>) {
  const [models, setModels] = useState<Model[]>([]);
  const [error, setError] = useState<Error>();
  const [tries, setTries] = useState(0);

  useEffect(() => {
    const abort = new AbortController();
    ask(`${router}/api/models`, { headers, signal: abort.signal })
      .then(async (response) => {
        setModels(((await response.json()) as { models: Model[] }).models);
        setError(undefined);
      })
      .catch((reason: unknown) => {
        if (!abort.signal.aborted) setError(reason as Error);
      });
    return () => abort.abort();
  }, [router, headers, tries]);

  return { models, error, reload: () => setTries((before) => before + 1) };
}
