/** @type {import("next").NextConfig} */
export default {
  // Next compresses what it serves, which would hold back a stream. Leave that to the proxy in front, for static files.
  compress: false,
  poweredByHeader: false,
};
