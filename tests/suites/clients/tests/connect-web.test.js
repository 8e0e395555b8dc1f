// connect-web as a browser runs it: on fetch, without request streams.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { declare } from "../rpc.js";
import { LEGS, TRANSLATED } from "../targets.js";

const can = { clientStreams: false, fullDuplex: false };

for (const [leg, baseUrl] of LEGS) {
  declare(`connect-web gRPC-Web, ${leg}`, createGrpcWebTransport({ baseUrl }), can);
  if (TRANSLATED) continue;
  declare(`connect-web Connect, ${leg}`, createConnectTransport({ baseUrl, useBinaryFormat: true }), can);
  declare(`connect-web Connect JSON by GET, ${leg}`, createConnectTransport({ baseUrl, useHttpGet: true }), can);
}
