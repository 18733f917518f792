/**
 * `weir.js` against a router that is ended, frozen and started again. Started by `host/tests/all/clients.rs`, which
 * says in WEIR_URL where the router is, and does to it what is asked for at WEIR_CONTROL.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, test } from "node:test";

import "./websocket.mjs";
import { Weir, WeirError, meet } from "../weir.js";

const [host, port] = process.env.WEIR_CONTROL.split(":");
const opened = [];

/** Asks for something to happen to the router, and waits until it has. */
async function control(command) {
  const socket = connect(Number(port), host);
  socket.end(`${command}\n`);
  let answer = "";
  for await (const data of socket) answer += data;
  assert.ok(answer.endsWith("\n"), `${command} failed`);
  return answer.trim();
}

const [key] = (await control("key tests")).split(" ");

/** A client that reconnects quickly, and whose complaints fail its test. */
function client(options = {}) {
  const quick = { key, clientId: "js", retryMaxMs: 500, onGap: () => {} };
  const weir = new Weir(process.env.WEIR_URL, { ...quick, onError: assert.ifError, ...options });
  opened.push(weir);
  return weir;
}

/** A list that can be awaited to become so long. */
class Seen extends Array {
  #wake = () => {};

  add = (value) => {
    this.push(value);
    this.#wake();
  };

  async until(length) {
    while (this.length < length) await new Promise((wake) => (this.#wake = wake));
    return [...this];
  }
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);
const outcome = (expected) => (error) => error instanceof WeirError && error.outcome === expected;

after(() => opened.forEach((weir) => weir.close()));

test("patterns meet as MQTT says", () => {
  const cases = ["a a", "a +", "a #", "a/b a/#", "a a/#", "+/b a/+", "a/+/c a/b/#", "a//b a/+/b", "# +/b"];
  const strangers = ["a b", "a a/b", "a/b a", "+/b a/c", "a/+ a", "$SYS/a #", "$SYS/a +/a", "a/b/c a/+"];
  const together = (pair) => meet(...pair.split(" ").map((pattern) => pattern.split("/")));
  assert.deepEqual(cases.filter((pair) => !together(pair)), []);
  assert.deepEqual(strangers.filter(together), []);
});

test("the wait before a new connection is random, below a bound that doubles", async () => {
  const [random, later] = [Math.random, globalThis.setTimeout];
  const waits = new Seen();
  let going = true;
  Math.random = () => 0.5;
  globalThis.setTimeout = (call, wait) => (waits.add(wait), setImmediate(() => going && call()));
  client({ key: () => Promise.reject(new Error("no key")), onError: () => {}, retryMaxMs: 2_000 });
  const found = await waits.until(6);
  going = false;
  [Math.random, globalThis.setTimeout] = [random, later];
  assert.deepEqual(found.slice(0, 6), [125, 250, 500, 1_000, 1_000, 1_000]);
});

test("what is published comes as it was, and what is refused says why", async () => {
  const weir = client();
  const seen = new Seen();
  await weir.subscribe({ topic: "plain/+" }, seen.add);
  const answer = await weir.publish({ topic: "plain/a", data: { é: "\u{1f40a}" }, headers: { unit: "m" }, level: "logged" });
  assert.equal(answer.outcome, "accepted");
  await weir.publish({ topic: "plain/b", text: "x".repeat(70_000) });
  const [first, second] = await seen.until(2);
  assert.deepEqual([first.topic, first.data, first.headers], ["plain/a", { é: "\u{1f40a}" }, { unit: "m" }]);
  assert.equal(second.text.length, 70_000);
  await assert.rejects(weir.publish({ topic: "plain/+", data: 1 }), outcome("invalid"));
  await assert.rejects(weir.subscribe({ topic: "a/#/b" }, () => {}), outcome("invalid"));
  await assert.rejects(weir.publish({ topic: "plain/a", data: 1, id: "mine" }), outcome("invalid"));
  await assert.rejects(weir.subscribe({ topic: "plain/a", action: "publish" }, () => {}), outcome("invalid"));
});

test("what is too large is blamed, and nothing else", async () => {
  const weir = client();
  await weir.publish({ topic: "large/a", data: 1 });
  const [large, ...rest] = [3_000_000, 10, 20].map((size) => weir.publish({ topic: "large/a", text: "x".repeat(size) }));
  await assert.rejects(large, outcome("too-large"));
  for (const answer of await Promise.all(rest)) assert.equal(answer.outcome, "accepted");
});

test("a subscriber misses nothing, and sees nothing twice, through kills and stops", async () => {
  const [reader, writer] = [client(), client()];
  const seen = new Seen();
  await reader.subscribe({ topic: "storm/#" }, ({ data }) => seen.add(data));
  let [next, going] = [0, true];
  const writing = (async () => {
    const open = new Set();
    for (; going || open.size; ) {
      while (going && open.size < 32) {
        const call = writer.publish({ topic: `storm/${next % 3}`, data: next++, level: "logged" });
        open.add(call);
        call.finally(() => open.delete(call));
      }
      await Promise.race(open);
    }
  })();
  for (const end of ["kill", "stop", "kill", "kill"]) {
    await seen.until(seen.length + 100);
    await control(end);
    await control("up");
  }
  await seen.until(seen.length + 100);
  going = false;
  await writing;
  assert.deepEqual(await seen.until(next), numbers(0, next));
});

test("a router that was put back to an older state says so, and what it publishes then is not taken for old", async () => {
  const gaps = new Seen();
  const [reader, writer] = [client({ onGap: gaps.add }), client()];
  const seen = new Seen();
  await reader.subscribe({ topic: "backup" }, ({ data }) => seen.add(data));
  const publish = (from, to) => Promise.all(numbers(from, to).map((data) => writer.publish({ topic: "backup", data, level: "logged" })));
  await publish(0, 10);
  await seen.until(10);
  await control("stop");
  await control("save");
  await control("up");
  await publish(10, 500);
  await seen.until(500);
  await control("stop");
  await control("restore");
  await control("up");
  const [{ topic, oldest }] = await gaps.until(1);
  assert.deepEqual([topic, Object.keys(oldest)], ["backup", ["default"]]);
  // Until it has caught up, nobody can tell what is new.
  let next = 500;
  while (seen.length === 500) await publish(next, ++next);
  await publish(next, next + 10);
  const found = await seen.until(next + 10 - seen[500] + 500);
  assert.deepEqual(found, [...numbers(0, 500), ...numbers(found[500], next + 10)]);
  assert.ok(found[500] < 950, "at an offset that an older message had");
});

/** A router that gives these answers, one list after the other, and `CUT`s the connection. */
const CUT = {};
function scripted(answers, asked) {
  return class {
    constructor() {
      setImmediate(() => this.onopen());
    }
    send(text) {
      const { id, action, ...frame } = JSON.parse(text);
      asked.push(frame);
      for (const answer of answers.shift()) {
        if (answer === CUT) setImmediate(() => this.onclose({ code: 1001, reason: "the router is stopping" }));
        else this.onmessage({ data: JSON.stringify(answer.event ? answer : { id, ...answer }) });
      }
    }
    close() {}
  };
}

const message = (offset) => ({ event: "message", topic: "a", log: "b", epoch: 1, offset, from: "c", data: offset });
const place = (offset) => ({ b: { epoch: 1, offset } });

test("a subscription waits for the next router when one is stopping, and takes what overtakes the answer", async () => {
  const answers = [
    [{ ok: false, outcome: "shutting-down" }, CUT],
    [message(7), { ok: true, topic: "a", places: place(6) }, message(8), CUT],
    [{ ok: true, topic: "a", places: {}, recovered: true }, message(8), message(9), { event: "caught-up", topic: "a" }, message(10)],
  ];
  const [asked, seen] = [[], new Seen()];
  await client({ WebSocket: scripted(answers, asked) }).subscribe({ topic: "a" }, ({ data }) => seen.add(data));
  assert.deepEqual(await seen.until(4), [7, 8, 9, 10]);
  // It was cut off before it knew that it has all retained messages.
  const first = { topic: "a", retained: true };
  assert.deepEqual(asked, [first, first, { ...first, since: place(8) }]);
});

test("a subscription whose log is gone begins anew and says so", async () => {
  const answers = [
    [{ ok: true, topic: "a", places: place(6) }, { event: "caught-up", topic: "a" }, CUT],
    [{ ok: false, outcome: "invalid", reason: "no log" }],
    [{ ok: true, topic: "a", places: {} }, message(0)],
  ];
  const [asked, seen, gaps] = [[], new Seen(), []];
  const weir = client({ WebSocket: scripted(answers, asked), onGap: (gap) => gaps.push(gap) });
  await weir.subscribe({ topic: "a" }, ({ data }) => seen.add(data));
  assert.deepEqual(await seen.until(1), [0]);
  assert.deepEqual(gaps, [{ topic: "a", reason: "no log" }]);
  assert.deepEqual(asked, [{ topic: "a", retained: true }, { topic: "a", since: place(6) }, { topic: "a" }]);
});

test("overlapping subscriptions each keep their order over a restart", async () => {
  const [reader, writer] = [client(), client()];
  const [all, some] = [new Seen(), new Seen()];
  await reader.subscribe({ topic: "over/#" }, ({ data }) => all.add(data));
  await reader.subscribe({ topic: "over/1" }, ({ data }) => some.add(data));
  const publish = (from, to) => Promise.all(numbers(from, to).map((data) => writer.publish({ topic: `over/${data % 2}`, data })));
  await publish(0, 100);
  await all.until(100);
  await control("stop");
  const later = publish(100, 200);
  await control("up");
  await later;
  assert.deepEqual(await all.until(200), numbers(0, 200));
  assert.deepEqual(await some.until(100), numbers(0, 100).map((n) => 2 * n + 1));
});

test("calls wait while there is no router, so many and no more", async () => {
  const weir = client({ maxPending: 10 });
  await weir.publish({ topic: "queue", data: "first" });
  await control("kill");
  const waiting = numbers(0, 10).map((data) => weir.publish({ topic: "queue", data, level: "logged" }));
  await assert.rejects(weir.publish({ topic: "queue", data: 10 }), (error) => outcome("overloaded")(error) && /10 calls/.test(error.message));
  await control("up");
  const offsets = (await Promise.all(waiting)).map(({ messages: [{ offset }] }) => offset);
  assert.deepEqual(offsets, numbers(offsets[0], offsets[0] + 10), "in the order of the calls");
});

test("without an answer a message is sent again, or reported as unknown", async () => {
  const weir = client();
  const seen = new Seen();
  await weir.subscribe({ topic: "again" }, ({ data }) => seen.add(data));
  await control("freeze");
  const again = weir.publish({ topic: "again", data: 1, level: "logged" });
  const once = weir.publish({ topic: "again", data: 2 }, { retry: false });
  const refused = assert.rejects(once, outcome("unknown"));
  await control("kill");
  await refused;
  await control("up");
  assert.equal((await again).outcome, "accepted");
  assert.deepEqual((await seen.until(1))[0], 1);
});

test("a connection that falls silent is given up", async () => {
  const states = new Seen();
  const weir = client({ pingEveryMs: 100, timeoutMs: 400, onState: states.add });
  await weir.publish({ topic: "silence", data: 1 });
  await control("freeze");
  while (!states.includes("waiting")) await states.until(states.length + 1);
  await control("thaw");
  assert.equal((await weir.publish({ topic: "silence", data: 2 })).outcome, "accepted");
});

test("a refused key is not tried again", async () => {
  const refused = new Seen();
  const hear = (state, detail) => state === "refused" && refused.add(detail);
  const stranger = client({ key: "nobody", onState: hear });
  await assert.rejects(stranger.publish({ topic: "a", data: 1 }), outcome("unauthenticated"));
  const [mortal, id] = (await control("key mortal")).split(" ");
  const weir = client({ key: mortal, onState: hear });
  await weir.publish({ topic: "a", data: 1 });
  await control(`revoke ${id}`);
  assert.match((await refused.until(2))[0], /401/);
  assert.equal(refused[1], "key revoked");
  await assert.rejects(weir.publish({ topic: "a", data: 1 }), WeirError);
});

test("a consumer acks what it has handled, and gets the rest again", async () => {
  const weir = client();
  const seen = new Seen();
  const frame = { topic: "jobs/#", consumer: "js" };
  await weir.consume(frame, ({ data }) => seen.add(data));
  const publish = (from, to) => Promise.all(numbers(from, to).map((data) => weir.publish({ topic: "jobs/a", data, level: "logged" })));
  await publish(0, 50);
  await seen.until(50);
  await control("kill");
  await control("up");
  await publish(50, 100);
  assert.deepEqual(await seen.until(100), numbers(0, 100), "once, though the acks may have been lost");
  let failures = 0;
  const clumsy = client({ onError: () => failures++ });
  const twice = new Seen();
  const hard = (message) => {
    twice.add(message.delivery);
    if (message.delivery === 1) throw new Error("too early");
  };
  await clumsy.consume({ topic: "hard", group: "js", ack_wait_ms: 100 }, hard);
  await weir.publish({ topic: "hard", data: 1 });
  assert.deepEqual(await twice.until(2), [1, 2]);
  assert.equal(failures, 1);
});

test("a question finds its answer, and who is there is known", async () => {
  const [asker, server] = [client(), client({ clientId: "server" })];
  await server.subscribe({ topic: "add" }, (message) => server.reply(message, { data: message.data[0] + message.data[1] }));
  assert.equal((await asker.request({ topic: "add", data: [2, 3] })).data, 5);
  await assert.rejects(asker.request({ topic: "nobody", data: 1, timeout_ms: 50 }), outcome("unanswered"));
  await assert.rejects(server.reply({ topic: "add" }, { data: 1 }), outcome("invalid"));
  assert.equal((await asker.presence({ topic: "add" })).count, 1);
});

test("history comes page by page, and storage plugins answer", async () => {
  const weir = client();
  for (const data of numbers(0, 25)) await weir.publish({ topic: "latest/a", data, level: "stored" });
  const found = [];
  for await (const { data } of weir.history({ topic: "latest/#", limit: 10 })) found.push(data);
  assert.deepEqual(found, numbers(0, 25));
  const { items } = await weir.query({ plugin: "latest", topic: "latest/a" });
  assert.equal(items.length, 1);
});

test("places that are stored outlive the page", async () => {
  const stored = new Map();
  const storage = { getItem: (name) => stored.get(name) ?? null, setItem: (name, text) => stored.set(name, text) };
  const [page, writer] = [client(), client()];
  const seen = new Seen();
  const look = (weir) => weir.subscribe({ topic: "reload" }, ({ data }) => seen.add(data), { storage });
  await look(page);
  await writer.publish({ topic: "reload", data: 0 });
  await seen.until(1);
  page.close();
  await writer.publish({ topic: "reload", data: 1, level: "logged" });
  await look(client());
  await writer.publish({ topic: "reload", data: 2 });
  assert.deepEqual(await seen.until(3), [0, 1, 2]);
});
