// The demo's Console page in Chromium: loads over HTTP/2, and the gRPC-Web call
// that its script makes is answered with status 0.
//
//   node page.js URL [SCREENSHOT]        CHROMIUM: the browser's path
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const [url, screenshot] = process.argv.slice(2);
const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path && existsSync(path),
);
// No sandbox: the suite may run as root, and the only page is our own.
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (e) => faults.push(`script: ${e.message}`));
  page.on("requestfailed", (r) => faults.push(`${r.method()} ${r.url()}: ${r.failure()?.errorText}`));

  const isCall = (r) => (r.request().headers()["content-type"] ?? "").startsWith("application/grpc-web");
  // Asked for before the page is, so that no call is too early to be seen.
  const call = page.waitForResponse(isCall, { timeout: 20_000 }).catch((e) => e);
  const head = await page.goto(url, { waitUntil: "load", timeout: 20_000 });
  assert.equal(head.status(), 200, `${url} answered ${head.status()}`);
  assert.match(head.headers()["content-type"] ?? "", /^text\/html/);

  const answer = await call;
  if (answer instanceof Error) throw new Error(`the page made no gRPC-Web call: ${answer.message}`);
  assert.equal(answer.status(), 200);
  const type = answer.headers()["content-type"] ?? "";
  assert.match(type, /^application\/grpc-web/);
  // Trailers-Only puts the status into the head, everything else into the last frame.
  let status = answer.headers()["grpc-status"];
  if (status === undefined) {
    let body = await answer.body();
    // Text mode: pieces of base64, each with its own padding.
    if (type.startsWith("application/grpc-web-text"))
      body = Buffer.concat((body.toString("latin1").match(/[^=]+=*/g) ?? []).map((piece) => Buffer.from(piece, "base64")));
    status = /grpc-status:\s*(\d+)/i.exec(body.toString("latin1"))?.[1];
  }
  assert.equal(status, "0", `grpc-status ${status}`);

  const spoken = await page.evaluate(() => performance.getEntries().filter((e) => e.nextHopProtocol).map((e) => [e.name, e.nextHopProtocol]));
  assert.ok(spoken.length > 0);
  for (const [name, protocol] of spoken) assert.equal(protocol, "h2", `${name} came over ${protocol}`);
  assert.deepEqual(faults, []);
  if (screenshot) await page.screenshot({ path: screenshot });
  console.log(`page: ${spoken.length} resources over h2, ${new URL(answer.url()).pathname} answered with grpc-status 0`);
} finally {
  await browser.close();
}
