/** What a model wrote. HTML in it is shown as text, and nothing is loaded from other hosts: an image's address could carry a user's words away. */
import { memo, type ReactNode, useRef } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";

const plugins = [remarkGfm];
const components: Components = {
  a: ({ href, children }) => <Link href={href}>{children}</Link>,
  img: ({ src, alt }) => <Link href={typeof src === "string" ? src : undefined}>{alt || "image"}</Link>,
  pre: ({ children }) => <Code>{children}</Code>,
  table: ({ children }) => (
    <div className="scroller">
      <table>{children}</table>
    </div>
  ),
};

/** Memoised: of a long chat only the part that grows is parsed again. */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <div className="markdown">
      <ReactMarkdown remarkPlugins={plugins} components={components}>
        {text}
      </ReactMarkdown>
    </div>
  );
});

function Link({ href, children }: { href?: string; children?: ReactNode }) {
  if (!href) return <>{children}</>; // an address that would run a script was taken out
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

function Code({ children }: { children?: ReactNode }) {
  const code = useRef<HTMLPreElement>(null);
  return (
    <div className="code">
      <button type="button" onClick={() => void navigator.clipboard.writeText(code.current?.innerText ?? "")}>
        Copy
      </button>
      <pre ref={code} tabIndex={0}>
        {children}
      </pre>
    </div>
  );
}
