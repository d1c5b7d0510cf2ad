// The modules of the front end that its chat routes import, in memory: a database of one user, and what Next.js gives.
export const rows = { chats: new Map(), messages: [], documents: [], suggestions: [], after: [] };
const USER = { id: "user-1", type: "regular" };

export const after = (work) => void rows.after.push(Promise.resolve(typeof work === "function" ? work() : work));
export const geolocation = () => ({ city: "Berlin", country: "DE" });
export const ipAddress = () => "127.0.0.1";
export const checkBotId = async () => ({ isBot: false });
export const auth = async () => ({ user: USER });
export const entitlementsByUserType = { regular: { maxMessagesPerDay: 100, maxMessagesPerHour: 100 } };
export const allowedModelIds = new Set(["chat-model"]);
export const DEFAULT_CHAT_MODEL = "chat-model";
export const checkIpRateLimit = async () => {};
export const generateUUID = () => crypto.randomUUID();
export const convertToUIMessages = (messages) => messages.map(({ id, role, parts }) => ({ id, role, parts }));
export const postRequestBodySchema = {
  parse(body) {
    if (typeof body?.id !== "string" || (body.message === undefined && body.messages === undefined)) throw new Error("no question");
    return body;
  },
};

class Failed extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
  toResponse() {
    return Response.json({ code: this.code, message: this.code }, { status: 400 });
  }
}
export { Failed as ChatbotError, Failed as ChatSDKError };

export const getChatById = async ({ id }) => rows.chats.get(id) ?? null;
export const saveChat = async (chat) => void rows.chats.set(chat.id, chat);
export const deleteChatById = async ({ id }) => rows.chats.delete(id);
export const updateChatTitleById = async ({ chatId, title }) => void (rows.chats.get(chatId).title = title);
export const getMessageCountByUserId = async () => rows.messages.length;
export const getMessagesByChatId = async ({ id }) => rows.messages.filter((one) => one.chatId === id);
export const saveMessages = async ({ messages }) => void rows.messages.push(...messages);
export const updateMessage = async ({ id, parts }) => void (rows.messages.find((one) => one.id === id).parts = parts);
export const getDocumentById = async ({ id }) => rows.documents.findLast((one) => one.id === id);
export const saveDocument = async (document) => void rows.documents.push({ ...document, createdAt: new Date() });
export const saveSuggestions = async ({ suggestions }) => void rows.suggestions.push(...suggestions);
