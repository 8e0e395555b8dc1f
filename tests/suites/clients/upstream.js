// The upstream: connect-node's own server, which speaks gRPC, gRPC-Web and
// Connect (with --grpc-only: gRPC alone), over cleartext HTTP/2. Prints its
// address, serves until it is killed.
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Echo, Message, message } from "./echo.js";

const cancelled = new Set();

/** What came in as x-echo goes back, in the head and in the trailers. */
function echoMetadata(context) {
  for (const suffix of ["", "-bin"]) {
    const value = context.requestHeader.get(`x-echo${suffix}`);
    if (value === null) continue;
    context.responseHeader.set(`x-back${suffix}`, value);
    context.responseTrailer.set(`x-trailer${suffix}`, value);
  }
}

/** Waits, but not past the caller's interest; remembers who lost it. */
async function delay(request, context) {
  if (!request.delayMs) return;
  try {
    await sleep(request.delayMs, undefined, { signal: context.signal });
  } catch {
    cancelled.add(request.text);
    throw context.signal.reason; // a ConnectError: canceled, or deadline_exceeded
  }
}

function fail(request) {
  const error = new ConnectError(`failed as asked - ${request.text}`, request.failCode, { "x-why": "asked" });
  error.details.push({ desc: Message, value: { text: "detail ä" } });
  throw error;
}

async function unary(request, context) {
  echoMetadata(context);
  await delay(request, context);
  if (request.failCode) fail(request);
  return message({ text: request.text, body: request.body, timeoutMs: Math.round(context.timeoutMs() ?? 0) });
}

async function* answers(request, context) {
  for (let i = 0; i < request.count; i++) {
    if (request.failCode && i === request.failAfter) fail(request);
    if (context.signal.aborted) cancelled.add(request.text);
    yield message({ text: request.text, body: request.body, count: i });
  }
  if (request.failCode) fail(request);
}

const service = {
  unary,
  read: unary,
  async *serverStream(request, context) {
    echoMetadata(context);
    yield* answers(request, context);
    await delay(request, context);
  },
  async clientStream(requests, context) {
    echoMetadata(context);
    let count = 0;
    let size = 0;
    let last;
    for await (const request of requests) {
      count += 1;
      size += request.body.length;
      last = request;
    }
    if (last?.failCode) fail(last);
    return message({ text: `${size}`, count });
  },
  async *bidi(requests, context) {
    echoMetadata(context);
    for await (const request of requests) yield* answers({ ...request, count: request.count || 1 }, context);
  },
  cancelled: (request) => message({ count: cancelled.has(request.text) ? 1 : 0 }),
};

const protocols = process.argv.includes("--grpc-only") ? { grpcWeb: false, connect: false } : {};
const server = http2.createServer(
  { settings: { maxConcurrentStreams: 250 } },
  connectNodeAdapter({ routes: (router) => router.service(Echo, service), maxTimeoutMs: 600_000, ...protocols }),
);
server.listen(0, "127.0.0.1", () => {
  console.log(`127.0.0.1:${server.address().port}`);
});
