import { forward } from "@/lib/router";

/** The models that may be chosen. */
export async function GET(request: Request): Promise<Response> {
  return forward(request, "/api/models");
}
