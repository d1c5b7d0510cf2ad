/** The page: the chat, asking the router whose address stands in index.html. */
import { createRoot } from "react-dom/client";
import { Chat } from "./chat/Chat";
import "./chat/chat.css";

const router = document.querySelector<HTMLMetaElement>("meta[name=router]")?.content ?? "";
const root = document.getElementById("root");
if (root) createRoot(root).render(<Chat router={router} />);
