// Node's fetch gives headers that nobody may add to. The gateway adds to those of a stream, and would answer 500.
const asked = globalThis.fetch
globalThis.fetch = async (...given) => {
  const response = await asked(...given)
  return new Response(response.body, { status: response.status, headers: new Headers(response.headers) })
}
