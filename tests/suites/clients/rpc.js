// What every Connect transport must be able to do through a proxy.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError, createClient, decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { bytes, Echo, Message } from "./echo.js";
import { eventually, unique } from "./targets.js";

const MIB4 = 4 * 1024 * 1024 - 64; // with its framing still below the 4 MiB that clients accept by default
const BINARY = Uint8Array.from({ length: 67 }, (_, i) => i * 3);

async function* from(list) {
  yield* list;
}

async function all(stream) {
  const out = [];
  for await (const m of stream) out.push(m);
  return out;
}

const isCode = (code) => (e) => {
  assert.equal(Code[ConnectError.from(e).code], Code[code], String(e));
  return true;
};

/**
 * Declares the tests of one transport.
 * `can` tells what its HTTP version or its client cannot do by nature.
 */
export function declare(name, transport, can = {}) {
  const { clientStreams = true, fullDuplex = true, trailers = true } = can;
  const client = createClient(Echo, transport);
  const declared = (what, body) => test(`${name}: ${what}`, { timeout: 60_000 }, body);

  declared("a unary call is answered", async () => {
    const answer = await client.unary({ text: "grüße", body: bytes(1000) });
    assert.equal(answer.text, "grüße");
    assert.deepEqual(answer.body, bytes(1000));
  });

  declared("a hundred calls at once each get their own answer", async () => {
    const calls = Array.from({ length: 100 }, (_, i) => client.unary({ text: `${i}`, body: bytes(i * 40) }));
    (await Promise.all(calls)).forEach((answer, i) => {
      assert.equal(answer.text, `${i}`);
      assert.equal(answer.body.length, i * 40);
    });
  });

  declared("metadata goes there and comes back in head and trailers, also binary", async () => {
    let head;
    let tail;
    await client.unary(
      { text: "m" },
      {
        headers: { "x-echo": "plain value", "x-echo-bin": encodeBinaryHeader(BINARY) },
        onHeader: (h) => (head = h),
        onTrailer: (t) => (tail = t),
      },
    );
    assert.equal(head.get("x-back"), "plain value");
    assert.deepEqual(decodeBinaryHeader(head.get("x-back-bin")), BINARY);
    if (!trailers) return;
    assert.equal(tail.get("x-trailer"), "plain value");
    assert.deepEqual(decodeBinaryHeader(tail.get("x-trailer-bin")), BINARY);
  });

  for (const code of [Code.InvalidArgument, Code.NotFound, Code.PermissionDenied, Code.Unavailable, Code.Unauthenticated]) {
    declared(`an error keeps its code, text, metadata and details (${Code[code]})`, async () => {
      await assert.rejects(client.unary({ text: "ß %", failCode: code }), (e) => {
        isCode(code)(e);
        assert.equal(e.rawMessage, "failed as asked - ß %");
        assert.equal(e.metadata.get("x-why"), "asked");
        assert.equal(e.findDetails(Message)[0].text, "detail ä");
        return true;
      });
    });
  }

  declared("a server stream arrives whole and in order", async () => {
    const got = await all(client.serverStream({ text: "s", count: 500, body: bytes(300) }));
    assert.deepEqual(got.map((m) => m.count), Array.from({ length: 500 }, (_, i) => i));
    assert.deepEqual(got[499].body, bytes(300));
  });

  declared("a server stream may be empty", async () => {
    assert.deepEqual(await all(client.serverStream({ count: 0 })), []);
  });

  declared("a server stream carries trailers", async () => {
    let tail;
    await all(client.serverStream({ count: 2 }, { headers: { "x-echo": "t" }, onTrailer: (t) => (tail = t) }));
    assert.equal(tail.get("x-trailer"), "t");
  });

  declared("an error in mid-stream comes after the messages before it", async () => {
    const got = [];
    await assert.rejects(
      async () => {
        for await (const m of client.serverStream({ count: 9, failAfter: 3, failCode: Code.ResourceExhausted })) got.push(m.count);
      },
      isCode(Code.ResourceExhausted),
    );
    assert.deepEqual(got, [0, 1, 2]);
  });

  declared("an error before the first message comes as an error", async () => {
    await assert.rejects(all(client.serverStream({ count: 1, failCode: Code.NotFound })), isCode(Code.NotFound));
  });

  declared("a message of 4 MiB goes there and back", async () => {
    const body = bytes(MIB4);
    const answer = await client.unary({ body });
    assert.ok(Buffer.from(answer.body).equals(body));
  });

  declared("messages of 4 MiB stream", async () => {
    const body = bytes(MIB4);
    const got = await all(client.serverStream({ count: 3, body }));
    assert.equal(got.length, 3);
    assert.ok(got.every((m) => Buffer.from(m.body).equals(body)));
  });

  declared("the deadline reaches upstream", async () => {
    const { timeoutMs } = await client.unary({}, { timeoutMs: 30_000 });
    assert.ok(timeoutMs > 20_000 && timeoutMs <= 30_000, `${timeoutMs}`);
  });

  declared("a deadline that passes ends the call with deadline_exceeded", async () => {
    await assert.rejects(client.unary({ text: unique("late"), delayMs: 20_000 }, { timeoutMs: 300 }), isCode(Code.DeadlineExceeded));
  });

  declared("a cancelled unary call is cancelled upstream", async () => {
    const text = unique("unary");
    const abort = new AbortController();
    const call = client.unary({ text, delayMs: 30_000 }, { signal: abort.signal });
    setTimeout(() => abort.abort(), 200);
    await assert.rejects(call, isCode(Code.Canceled));
    await eventually(async () => (await client.cancelled({ text })).count === 1, "upstream saw the cancellation");
  });

  declared("a cancelled server stream is cancelled upstream", async () => {
    const text = unique("stream");
    const abort = new AbortController();
    await assert.rejects(async () => {
      for await (const m of client.serverStream({ text, count: 3, delayMs: 30_000 }, { signal: abort.signal })) {
        if (m.count === 2) abort.abort();
      }
    }, isCode(Code.Canceled));
    await eventually(async () => (await client.cancelled({ text })).count === 1, "upstream saw the cancellation");
  });

  if (clientStreams) {
    declared("a client stream arrives whole", async () => {
      const list = Array.from({ length: 200 }, (_, i) => ({ text: `${i}`, body: bytes(1000) }));
      const answer = await client.clientStream(from(list));
      assert.equal(answer.count, 200);
      assert.equal(answer.text, "200000");
    });

    declared("a client stream of 4 MiB messages arrives whole", async () => {
      const answer = await client.clientStream(from([1, 2, 3].map(() => ({ body: bytes(MIB4) }))));
      assert.equal(answer.text, `${3 * MIB4}`);
    });

    declared("a client stream may fail", async () => {
      await assert.rejects(client.clientStream(from([{ failCode: Code.Aborted }])), isCode(Code.Aborted));
    });

    declared("a bidirectional stream in half duplex", async () => {
      const got = await all(client.bidi(from([{ text: "a", count: 2 }, { text: "b" }])));
      assert.deepEqual(got.map((m) => m.text), ["a", "a", "b"]);
    });
  }

  if (fullDuplex) {
    declared("a bidirectional stream answers before the next question is asked", async () => {
      const waiting = [];
      const heard = () => new Promise((resolve) => waiting.push(resolve));
      async function* questions() {
        for (let i = 0; i < 50; i++) {
          const answered = heard();
          yield { text: `${i}`, body: bytes(i * 10) };
          await answered;
        }
      }
      let n = 0;
      for await (const m of client.bidi(questions())) {
        assert.equal(m.text, `${n++}`);
        waiting.shift()();
      }
      assert.equal(n, 50);
    });
  }
}
