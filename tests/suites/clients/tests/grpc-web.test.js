// grpc-web, the client that ZITADEL's Console uses, in both of its formats:
// XMLHttpRequest comes from xhr2, everything else is what a browser runs.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { bytes, Echo, Message, message } from "../echo.js";
import { LEGS, TRANSLATED, unique } from "../targets.js";

const require = createRequire(import.meta.url);
globalThis.XMLHttpRequest = require("xhr2");
const { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } = require("grpc-web");

const describe = (name, type) =>
  new MethodDescriptor(
    `/${Echo.typeName}/${name}`,
    type,
    Object,
    Object,
    (v) => toBinary(Message, message(v)),
    (b) => fromBinary(Message, b),
  );
const UNARY = describe("Unary", MethodType.UNARY);
const STREAM = describe("ServerStream", MethodType.SERVER_STREAMING);

// "text" is application/grpc-web-text, which connect-node's server does not
// speak: where Ravelin passes it on as it is, only the binary format gets answers.
const FORMATS = TRANSLATED ? ["binary", "text"] : ["binary"];

for (const [leg, url, format] of LEGS.flatMap((leg) => FORMATS.map((format) => [...leg, format]))) {
  const client = new GrpcWebClientBase({ format });
  const unary = (request, metadata = {}) => client.unaryCall(`${url}${UNARY.name}`, request, metadata, UNARY);
  const declared = (what, body) => test(`grpc-web ${format}, ${leg}: ${what}`, { timeout: 60_000 }, body);

  declared("a unary call is answered", async () => {
    const answer = await unary({ text: "grüße", body: bytes(5000) });
    assert.equal(answer.text, "grüße");
    assert.deepEqual(answer.body, bytes(5000));
  });

  declared("an error keeps code, text and metadata", async () => {
    await assert.rejects(unary({ text: "no", failCode: StatusCode.PERMISSION_DENIED }), (e) => {
      assert.equal(e.code, StatusCode.PERMISSION_DENIED);
      assert.equal(e.message, "failed as asked - no");
      assert.equal(e.metadata["x-why"], "asked");
      return true;
    });
  });

  declared("metadata and status arrive", async () => {
    const seen = {};
    await new Promise((resolve, reject) => {
      const call = client.rpcCall(`${url}${UNARY.name}`, { text: "x" }, { "x-echo": "v" }, UNARY, (e) => e && reject(e));
      call.on("metadata", (m) => Object.assign(seen, m));
      call.on("status", (s) => {
        Object.assign(seen, s.metadata, { code: s.code });
        resolve();
      });
    });
    assert.equal(seen["x-back"], "v");
    assert.equal(seen["x-trailer"], "v");
    assert.equal(seen.code, 0);
  });

  declared("a message of 4 MiB goes there and back", async () => {
    const body = bytes(4 * 1024 * 1024 - 64);
    assert.ok(Buffer.from((await unary({ body })).body).equals(body));
  });

  declared("a deadline that passes ends the call", async () => {
    const deadline = `${Date.now() + 300}`;
    await assert.rejects(unary({ text: unique("late"), delayMs: 20_000 }, { deadline }), { code: StatusCode.DEADLINE_EXCEEDED });
  });

  declared("a server stream arrives whole", async () => {
    const counts = [];
    await new Promise((resolve, reject) => {
      const call = client.serverStreaming(`${url}${STREAM.name}`, { count: 50, body: bytes(100) }, {}, STREAM);
      call.on("data", (m) => counts.push(m.count));
      call.on("error", reject);
      call.on("end", resolve);
    });
    assert.deepEqual(counts, Array.from({ length: 50 }, (_, i) => i));
  });
}
