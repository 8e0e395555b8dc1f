// The demo's Console page in Chromium: everything it loads comes over HTTP/2, and
// a gRPC-Web call made by a script in it, as the Console makes them, in both
// formats, is answered with status 0; the same and Connect for a page of another origin.
//
//   node page.js URL [SCREENSHOT]        CHROMIUM: the browser's path
//                                        TRUST=1: certificates must be good
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const METHOD = "/zitadel.auth.v1.AuthService/Healthz";

/** Runs in the page: a unary call with an empty message. */
async function call([path, type, body]) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": type, "x-grpc-web": "1" }, body });
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return {
    status: answer.status,
    type: answer.headers.get("content-type") ?? "",
    grpcStatus: answer.headers.get("grpc-status"), // Trailers-Only puts it into the head,
    body: Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""), // all else into the last frame
  };
}

function grpcStatus({ type, grpcStatus, body }) {
  if (grpcStatus !== null) return grpcStatus;
  // Text format: pieces of base64, each with its own padding.
  if (type.startsWith("application/grpc-web-text"))
    body = (body.match(/[^=]+=*/g) ?? []).map((piece) => Buffer.from(piece, "base64").toString("latin1")).join("");
  return /grpc-status:\s*(\d+)/i.exec(body)?.[1];
}

const [url, screenshot] = process.argv.slice(2);
const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path && existsSync(path),
);
// No sandbox: the suite may run as root, and the only page is our own.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: !process.env.TRUST });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (e) => faults.push(`script: ${e.message}`));
  page.on("requestfailed", (r) => faults.push(`${r.method()} ${r.url()}: ${r.failure()?.errorText}`));

  const head = await page.goto(url, { waitUntil: "load", timeout: 20_000 });
  assert.equal(head.status(), 200, `${url} answered ${head.status()}`);
  assert.match(head.headers()["content-type"] ?? "", /^text\/html/);

  for (const [type, empty] of [["application/grpc-web+proto", "\0\0\0\0\0"], ["application/grpc-web-text", "AAAAAAA="]]) {
    const answer = await page.evaluate(call, [METHOD, type, empty]);
    assert.equal(answer.status, 200);
    assert.ok(answer.type.startsWith(type.split("+")[0]), answer.type);
    assert.equal(grpcStatus(answer), "0", `grpc-status of ${type}`);
  }

  const spoken = await page.evaluate(() => performance.getEntries().filter((e) => e.nextHopProtocol).map((e) => [e.name, e.nextHopProtocol]));
  assert.ok(spoken.length > 0);
  for (const [name, protocol] of spoken) assert.equal(protocol, "h2", `${name} came over ${protocol}`);
  assert.deepEqual(faults, []);

  // An application on another origin, which must be allowed to read answers, ZITADEL's and Ravelin's own.
  const elsewhere = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<p>elsewhere"));
  await new Promise((listening) => elsewhere.listen(0, "127.0.0.1", listening));
  const other = await context.newPage();
  await other.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const at = (path) => new URL(path, url).href;
  for (const [type, empty] of [["application/grpc-web+proto", "\0\0\0\0\0"], ["application/grpc-web-text", "AAAAAAA="]]) {
    assert.equal(grpcStatus(await other.evaluate(call, [at(METHOD), type, empty])), "0", `${type} from another origin`);
  }
  const connect = await other.evaluate(call, [at("/zitadel.session.v2.SessionService/ListSessions"), "application/json", "{}"]);
  assert.equal(connect.status, 401);
  assert.match(connect.body, /unauthenticated/);
  // A message that says it has 5 MiB: refused by Ravelin, before ZITADEL has seen it.
  const refused = await other.evaluate(call, [at(METHOD), "application/grpc-web+proto", "\0\0\x50\0\0"]);
  assert.equal(grpcStatus(refused), "8", "a refusal of Ravelin's own can be read too");
  elsewhere.close();

  if (screenshot) await page.screenshot({ path: screenshot });
  console.log(`page: ${spoken.length} resources over h2; gRPC-Web, binary and text, answered with grpc-status 0,`);
  console.log("also to a page of another origin, which reads Connect's errors and Ravelin's refusals as well");
} finally {
  await browser.close();
}
