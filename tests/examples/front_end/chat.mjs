// The chat as the front end's page has it: the SDK's own chat and transport, and the body that `prepareSendMessagesRequest` makes there.
export function chatOf(ai, { base = "", id, messages = [], onChange = () => {}, onData = () => {}, onError = () => {} }) {
  const state = {
    status: "ready",
    error: undefined,
    messages: [...messages],
    pushMessage(message) {
      state.messages = [...state.messages, message];
      onChange();
    },
    popMessage() {
      state.messages = state.messages.slice(0, -1);
    },
    replaceMessage(index, message) {
      state.messages = state.messages.with(index, message);
      onChange();
    },
    snapshot: (value) => structuredClone(value),
  };
  const transport = new ai.DefaultChatTransport({
    api: `${base}/api/chat`,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (response.ok) return response;
      const { code, message } = await response.json();
      throw new Error(`${code}: ${message}`);
    },
    prepareSendMessagesRequest: (request) => ({
      body: { id: request.id, message: request.messages.at(-1), selectedChatModel: "chat-model", selectedVisibilityType: "private" },
    }),
  });
  class Chat extends ai.AbstractChat {}
  const chat = new Chat({ id, state, transport, onData, onError, generateId: () => crypto.randomUUID() });
  const set = chat.setStatus.bind(chat);
  chat.setStatus = (value) => {
    set(value);
    onChange();
  };
  return chat;
}
