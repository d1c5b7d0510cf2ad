import type { Metadata } from "next";
import type { ReactNode } from "react";

export const metadata: Metadata = { title: "Chat" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body style={{ margin: "2rem auto", maxWidth: "44rem", padding: "0 1rem", fontFamily: "system-ui, sans-serif" }}>
        {children}
      </body>
    </html>
  );
}
