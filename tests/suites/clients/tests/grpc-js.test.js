// @grpc/grpc-js, the gRPC client most Node programs use.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { bytes, Echo, Message, message } from "../echo.js";
import { eventually, LEGS, unique } from "../targets.js";

const definition = Object.fromEntries(
  Echo.methods.map((m) => [
    m.localName,
    {
      path: `/${Echo.typeName}/${m.name}`,
      requestStream: m.methodKind === "client_streaming" || m.methodKind === "bidi_streaming",
      responseStream: m.methodKind === "server_streaming" || m.methodKind === "bidi_streaming",
      requestSerialize: (v) => Buffer.from(toBinary(Message, message(v))),
      requestDeserialize: (b) => fromBinary(Message, b),
      responseSerialize: (v) => Buffer.from(toBinary(Message, v)),
      responseDeserialize: (b) => fromBinary(Message, b),
    },
  ]),
);
const EchoClient = grpc.makeGenericClientConstructor(definition, Echo.typeName);
const roots = process.env.NODE_EXTRA_CA_CERTS ? readFileSync(process.env.NODE_EXTRA_CA_CERTS) : null;

/** Waits for a unary or client-streaming call: `start` gets the callback. */
function outcome(start) {
  return new Promise((resolve, reject) => {
    const seen = {};
    const call = start((error, value) => {
      // The status comes after the callback and closes the call.
      setImmediate(() => (error ? reject(error) : resolve({ value, ...seen })));
    });
    call.on("metadata", (m) => (seen.head = m));
    call.on("status", (s) => (seen.status = s));
  });
}

async function all(call) {
  const out = [];
  for await (const m of call) out.push(m);
  return out;
}

for (const [leg, url] of LEGS) {
  const credentials = leg === "TLS" ? grpc.credentials.createSsl(roots) : grpc.credentials.createInsecure();
  const client = new EchoClient(new URL(url).host, credentials);
  after(() => client.close());
  const declared = (what, body) => test(`grpc-js, ${leg}: ${what}`, { timeout: 60_000 }, body);

  declared("a unary call, metadata and trailers, also binary", async () => {
    const metadata = new grpc.Metadata();
    metadata.set("x-echo", "plain");
    metadata.set("x-echo-bin", Buffer.from([0, 1, 254, 255]));
    const { value, head, status } = await outcome((done) => client.unary({ text: "ü", body: bytes(99) }, metadata, done));
    assert.equal(value.text, "ü");
    assert.deepEqual(head.get("x-back"), ["plain"]);
    assert.deepEqual(head.get("x-back-bin"), [Buffer.from([0, 1, 254, 255])]);
    assert.deepEqual(status.metadata.get("x-trailer"), ["plain"]);
    assert.deepEqual(status.metadata.get("x-trailer-bin"), [Buffer.from([0, 1, 254, 255])]);
  });

  declared("250 calls at once each get their own answer", async () => {
    const calls = Array.from({ length: 250 }, (_, i) => outcome((done) => client.unary({ text: `${i}` }, done)));
    (await Promise.all(calls)).forEach(({ value }, i) => assert.equal(value.text, `${i}`));
  });

  declared("an error keeps code, text and metadata", async () => {
    await assert.rejects(
      outcome((done) => client.unary({ text: "é", failCode: grpc.status.NOT_FOUND }, done)),
      (e) => {
        assert.equal(e.code, grpc.status.NOT_FOUND);
        assert.equal(e.details, "failed as asked - é");
        assert.deepEqual(e.metadata.get("x-why"), ["asked"]);
        return true;
      },
    );
  });

  declared("a server stream arrives whole", async () => {
    const got = await all(client.serverStream({ count: 1000, body: bytes(100) }));
    assert.deepEqual(got.map((m) => m.count), Array.from({ length: 1000 }, (_, i) => i));
  });

  declared("an error in mid-stream comes after the messages before it", async () => {
    const got = [];
    await assert.rejects(
      async () => {
        for await (const m of client.serverStream({ count: 5, failAfter: 2, failCode: grpc.status.DATA_LOSS })) got.push(m.count);
      },
      { code: grpc.status.DATA_LOSS },
    );
    assert.deepEqual(got, [0, 1]);
  });

  declared("a client stream arrives whole", async () => {
    const { value } = await outcome((done) => {
      const call = client.clientStream(done);
      for (let i = 0; i < 300; i++) call.write({ body: bytes(1000) });
      call.end();
      return call;
    });
    assert.equal(value.count, 300);
    assert.equal(value.text, "300000");
  });

  declared("a bidirectional stream plays ping-pong", async () => {
    const call = client.bidi();
    let n = 0;
    call.write({ text: "0" });
    for await (const m of call) {
      assert.equal(m.text, `${n++}`);
      if (n < 100) call.write({ text: `${n}` });
      else call.end();
    }
    assert.equal(n, 100);
  });

  declared("a message of 4 MiB goes there and back", async () => {
    const body = bytes(4 * 1024 * 1024 - 64);
    const { value } = await outcome((done) => client.unary({ body }, done));
    assert.ok(Buffer.from(value.body).equals(body));
  });

  declared("the deadline reaches upstream and ends a late call", async () => {
    const { value } = await outcome((done) => client.unary({}, { deadline: Date.now() + 30_000 }, done));
    assert.ok(value.timeoutMs > 20_000 && value.timeoutMs <= 30_000, `${value.timeoutMs}`);
    await assert.rejects(
      outcome((done) => client.unary({ text: unique("late"), delayMs: 20_000 }, { deadline: Date.now() + 300 }, done)),
      { code: grpc.status.DEADLINE_EXCEEDED },
    );
  });

  declared("a cancelled call is cancelled upstream", async () => {
    const text = unique("grpc-js");
    const call = client.serverStream({ text, count: 1, delayMs: 30_000 });
    call.once("data", () => call.cancel());
    await assert.rejects(all(call), { code: grpc.status.CANCELLED });
    await eventually(
      async () => (await outcome((done) => client.cancelled({ text }, done))).value.count === 1,
      "upstream saw the cancellation",
    );
  });
}
