// A single-page application behind Ravelin, opened in Chromium: bytes on the wire at the first
// asking, with the best variants in, at a reload, and across an upgrade of the application.
//
//   node console.js URL STANDIN ADDRESS BUILD_A BUILD_B
//
//   ADMIN: Ravelin's admin listener      CHROMIUM: the browser's path      JSON: a file for the figures
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [url, standin, address, buildA, buildB] = process.argv.slice(2);
const port = new URL(url).port;

/** Asks again and again until `ask` says yes; fails after so many seconds. */
async function until(what, seconds, ask) {
  for (const end = Date.now() + seconds * 1000; ; ) {
    if (await ask()) return;
    assert.ok(Date.now() < end, `${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The stand-in with a build as its Console. */
async function serve(folder) {
  const child = spawn(standin, [address, port, folder], { stdio: "ignore" });
  const [host, number] = address.split(":");
  await until("the stand-in", 20, () =>
    new Promise((resolve) => {
      const socket = connect(Number(number), host, () => (socket.destroy(), resolve(true)));
      socket.on("error", () => resolve(false));
    }),
  );
  return child;
}

async function stop(child) {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

async function metric(name) {
  const text = await (await fetch(`http://${process.env.ADMIN}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(name));
  assert.ok(lines.length > 0, `no metric ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** A tab whose bytes on the wire are counted, heads included. */
async function tab(context) {
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => faults.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("response", (answer) => answer.status() >= 400 && faults.push(`${answer.url()}: ${answer.status()}`));
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  const seen = { bytes: 0, requests: 0, codings: new Set() };
  session.on("Network.loadingFinished", ({ encodedDataLength }) => (seen.bytes += encodedDataLength));
  session.on("Network.responseReceived", ({ response }) => {
    if (response.fromDiskCache || response.fromPrefetchCache) return;
    seen.requests += 1;
    const coding = Object.entries(response.headers).find(([name]) => name.toLowerCase() === "content-encoding");
    if (coding) seen.codings.add(coding[1]);
  });
  return { page, faults, seen };
}

async function visit(context, build) {
  const opened = await tab(context);
  await opened.page.goto(url, { waitUntil: "networkidle", timeout: 30_000 });
  await opened.page.waitForSelector("#home", { timeout: 10_000 });
  assert.equal(await opened.page.textContent("#build"), build);
  assert.deepEqual(opened.faults, []);
  return opened;
}

function size(folder, keep = () => true) {
  const entries = readdirSync(folder, { recursive: true }).map(String).filter(keep);
  return entries.map((name) => statSync(join(folder, name))).reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
let upstream = await serve(buildA);
try {
  const fresh = () => browser.newContext({ ignoreHTTPSErrors: true });
  const figures = { raw: size(buildA, (name) => /^(index|main|runtime|polyfills|styles)\b|i18n\/en/.test(name)) };

  const first = await visit(await fresh(), "a");
  figures.first_asking = first.seen.bytes;
  await until("the best variants", 240, async () => (await metric("ravelin_cache_variants_pending")) === 0);

  const context = await fresh();
  const old = await visit(context, "a");
  figures.best_variants = old.seen.bytes;
  assert.ok(old.seen.codings.has("br"), `codings: ${[...old.seen.codings]}`);

  const before = old.seen.bytes;
  await old.page.reload({ waitUntil: "networkidle" });
  await old.page.waitForSelector("#home");
  figures.reload = old.seen.bytes - before;
  assert.ok(figures.reload <= 10_000, `a reload took ${figures.reload} bytes`);

  // The upgrade: from here on upstream knows nothing of the first build. The old tab stays open.
  await stop(upstream);
  upstream = await serve(buildB);
  await until("the second build", 60, async () => {
    const context = await fresh();
    const page = await context.newPage();
    await page.goto(url, { waitUntil: "networkidle", timeout: 30_000 }).catch(() => {});
    const build = await page.textContent("#build", { timeout: 2_000 }).catch(() => "");
    await context.close();
    return build === "b";
  });
  await old.page.click("#users");
  await old.page.waitForSelector("#lazy-users", { timeout: 10_000 });
  assert.equal(await old.page.textContent("#lazy-users"), "Users of lazy a");
  assert.deepEqual(old.faults, []);

  const next = await visit(await fresh(), "b");
  figures.after_upgrade = next.seen.bytes;
  await next.page.click("#users");
  await next.page.waitForSelector("#lazy-users", { timeout: 10_000 });
  assert.equal(await next.page.textContent("#lazy-users"), "Users of lazy b");
  assert.deepEqual(next.faults, []);

  const kb = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
  console.log(`first screen: ${kb(figures.raw)} raw; on the wire ${kb(figures.first_asking)} at the first asking,`);
  console.log(`${kb(figures.best_variants)} with the best variants, ${kb(figures.reload)} at a reload, ${kb(figures.after_upgrade)} after the upgrade;`);
  console.log("the old tab loaded a chunk of the first build after the upgrade");
  if (process.env.JSON) writeFileSync(process.env.JSON, JSON.stringify(figures, null, 2));
} finally {
  await browser.close();
  await stop(upstream);
}
