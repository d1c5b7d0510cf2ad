export declare const postRequestBodySchema: { parse(json: unknown): PostRequestBody };
export type PostRequestBody = {
  id: string;
  message?: { id: string; role: "user"; parts: ({ type: "text"; text: string } | { type: "file"; mediaType: string; name: string; url: string })[] };
  messages?: { id: string; role: "user" | "assistant"; parts: Record<string, unknown>[] }[];
  selectedChatModel: string;
  selectedVisibilityType: "public" | "private";
};
