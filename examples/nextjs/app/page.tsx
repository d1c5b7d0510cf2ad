import { Chat } from "../chat/Chat";

/** The page asks this server, whose handlers below app/api ask the router. */
export default function Page() {
  return <Chat router="" />;
}
