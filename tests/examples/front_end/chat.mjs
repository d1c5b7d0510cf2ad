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
    prepareSendMessagesRequest: ({ id, messages }) => {
      const last = messages.at(-1); // an assistant's one holds what the user has decided
      const asked = last.role === "user" ? { message: last } : { messages };
      return { body: { id, ...asked, selectedChatModel: "chat-model", selectedVisibilityType: "private" } };
    },
  });
  const sendAutomaticallyWhen = ({ messages }) => messages.at(-1)?.parts.some((part) => part.state === "approval-responded" && part.approval.approved);
  class Chat extends ai.AbstractChat {}
  const chat = new Chat({ id, state, transport, onData, onError, generateId: () => crypto.randomUUID(), sendAutomaticallyWhen });
  const set = chat.setStatus.bind(chat);
  chat.setStatus = (value) => {
    set(value);
    onChange();
  };
  return chat;
}
