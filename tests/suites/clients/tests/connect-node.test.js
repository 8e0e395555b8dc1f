// connect-node: gRPC, gRPC-Web and Connect, HTTP/1.1 and HTTP/2, TLS and plaintext.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Echo } from "../echo.js";
import { declare } from "../rpc.js";
import { LEGS } from "../targets.js";

const h1 = { fullDuplex: false };

for (const [leg, baseUrl] of LEGS) {
  declare(`gRPC, HTTP/2, ${leg}`, createGrpcTransport({ baseUrl }));
  for (const [httpVersion, can] of [["2", {}], ["1.1", h1]]) {
    declare(`gRPC-Web, HTTP/${httpVersion}, ${leg}`, createGrpcWebTransport({ baseUrl, httpVersion }), can);
    declare(`Connect, HTTP/${httpVersion}, ${leg}`, createConnectTransport({ baseUrl, httpVersion }), can);
    declare(`Connect JSON, HTTP/${httpVersion}, ${leg}`, createConnectTransport({ baseUrl, httpVersion, useBinaryFormat: false }), can);
    test(`Connect by GET, HTTP/${httpVersion}, ${leg}: a call without side effects is answered`, async () => {
      const client = createClient(Echo, createConnectTransport({ baseUrl, httpVersion, useHttpGet: true }));
      assert.equal((await client.read({ text: "a?b&c=ü" })).text, "a?b&c=ü");
    });
  }
}
