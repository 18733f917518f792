/**
 * weir for pages and Node: publish, subscribe, consume, and miss nothing when the connection breaks.
 *
 *     const weir = new Weir("wss://router.example", { key: "…" });
 *     await weir.subscribe({ topic: "rooms/#" }, (message) => show(message.topic, message.data));
 *     await weir.publish({ topic: "rooms/kitchen", data: { celsius: 21.5 }, level: "logged" });
 *
 * The first argument of every method is a frame of the native protocol (docs/protocol.md) without `action` and `id`;
 * the last one is for this client alone.
 *
 * @typedef {Record<string, {epoch: number, offset: number}>} Places The last message seen, by the log's name.
 * @typedef {{topic: string, data?: any, text?: string, base64?: string} & Record<string, any>} Message
 * @typedef {object} ReaderOptions
 * @property {(gap: object) => void} [onGap] Messages are missing.
 * @property {(error: WeirError) => void} [onEnd] The router has ended it.
 * @property {(event: object) => void} [onPresence] Events `join` and `leave`.
 * @property {Pick<Storage, "getItem"|"setItem">} [storage] Keeps a subscription's places over reloads: localStorage.
 * @property {string} [storageKey] Under this name; default `weir:TOPIC`.
 */

const DEFAULTS = {
  /** API key, or a function that gives one for every connection. @type {string | (() => string | Promise<string>)} */
  key: "",
  clientId: "",
  origin: "",
  /** @param {"connecting"|"open"|"waiting"|"refused"|"closed"} state @param {string} [detail] */
  onState: (state, detail) => {},
  /** What a handler threw, or the router complains of. @param {Error} error @param {Message} [message] */
  onError: (error, message) => console.error("weir:", error, message),
  onGap: (gap) => console.warn("weir: messages are missing", gap),
  /** Calls that wait for a connection or an answer; more are refused. */
  maxPending: 1_000,
  /** Silence after which the connection is tested; how long that, and a handshake, may take. */
  pingEveryMs: 15_000,
  timeoutMs: 10_000,
  /** The wait before a reconnect is random, below a bound that doubles from the first of these to the second. */
  retryMinMs: 250,
  retryMaxMs: 30_000,
  WebSocket: globalThis.WebSocket,
};
/** Close codes that blame what was sent: sending it again would end the next connection too. */
const BLAMED = [1002, 1003, 1007, 1009, 1011];
/** This one blames one frame. */
const TOO_LARGE = 1009;
/** Message ids that a subscription remembers, to know what a publisher had to send twice. */
const REMEMBERED = 1_000;
/** Acks are gathered for so many milliseconds. */
const ACK_DELAY = 20;

/** What was refused, with the router's `outcome`. `unknown`: the connection broke before the answer came. */
export class WeirError extends Error {
  constructor({ outcome = "invalid", reason = "no reason was given", ...answer }) {
    super(`${outcome}: ${reason}`);
    Object.assign(this, { name: "WeirError", outcome, reason, answer });
  }
}

function checkOwn(frame) {
  const own = ["action", "id"].filter((key) => key in frame);
  if (own.length) throw new WeirError({ outcome: "invalid", reason: `${own.join(" and ")}: the client sets this itself` });
}

/** Whether some topic may match both patterns, by MQTT's rules; a topic is a pattern too. Both as lists of levels. */
export function meet(one, other) {
  const wild = (level) => level === "+" || level === "#";
  if ((wild(one[0]) && other[0].startsWith("$")) || (wild(other[0]) && one[0].startsWith("$"))) return false;
  for (let level = 0; ; level++) {
    const [a, b] = [one[level], other[level]];
    if (a === "#" || b === "#") return true;
    if (a === undefined || b === undefined) return a === b;
    if (a !== "+" && b !== "+" && a !== b) return false;
  }
}

/** What stands over all connections: it is `waiting` for one, `asked` for on it, or `live`. */
class Reader {
  state = "waiting";
  /** Whether the router has ever agreed to it. */
  stands = false;

  constructor(weir, frame, handler, options) {
    Object.assign(this, { weir, frame, handler, options, pattern: frame.topic.split("/") });
  }

  /** Stops reading. Of a consumer the router keeps the place. */
  close() {
    return this.weir.remove(this, this.name);
  }
}

/** A standing subscription: each new connection goes on where the last one broke. */
class Subscription extends Reader {
  durable = false;
  name = { topic: this.frame.topic };
  #key = this.options.storageKey ?? `weir:${this.frame.topic}`;
  /** @type {Places | null} Null until the router has answered: so long it begins as `since` says. */
  places = JSON.parse(this.options.storage?.getItem(this.#key) ?? "null");
  /** @type {Places | null} What the places become when all that was missed has come; null behind that. */
  #goal = null;
  /** @type {Message[]} */
  #early = [];
  /** Retained messages are wanted, and have not all come. */
  #retained = this.frame.retained ?? (this.frame.since === undefined && !this.places);
  #ids = new Set();

  /** The frame that begins or resumes it. */
  request() {
    this.#early = [];
    const retained = this.#retained || (this.places ? undefined : this.frame.retained);
    return { ...this.frame, since: this.places ?? this.frame.since, retained };
  }

  /** The first messages may overtake the answer, but for those that were missed. @param {Message} message */
  hold(message) {
    if (!this.places && (this.frame.since ?? "now") === "now") this.#early.push(message);
  }

  /** The places of the answer hold at once, or when all that was missed has come. */
  begin({ places = {} }, { since = "now" }) {
    this.places ??= {};
    this.#goal = places;
    if (since !== "now") return;
    this.#advance(places);
    for (const message of this.#early.splice(0)) this.take(message);
    this.#goal = null;
  }

  /** All that was missed has come. */
  catchUp() {
    if (this.#goal) this.#advance(this.#goal);
    this.#goal = null;
    this.#retained = false;
  }

  /**
   * Gives it to the handler, unless it had it. What was missed may come with more before it, when the router has lost
   * messages; what comes live is new, even in a log that was put back to an older state. @param {Message} message
   */
  take(message) {
    const { log, epoch, offset, retained } = message;
    const placed = log !== undefined && !retained;
    if (placed && this.#goal && !this.#isNew(log, message)) return;
    if (retained || !this.#isDouble(message)) this.weir.guard(() => this.handler(message), message);
    if (placed) this.#advance({ [log]: { epoch, offset } });
  }

  #advance(places) {
    for (const [log, place] of Object.entries(places)) {
      if (!this.#goal || this.#isNew(log, place)) this.places[log] = place;
    }
    this.weir.guard(() => this.options.storage?.setItem(this.#key, JSON.stringify(this.places)));
  }

  #isNew(log, { epoch, offset }) {
    const seen = this.places[log];
    return !seen || epoch > seen.epoch || (epoch === seen.epoch && offset > seen.offset);
  }

  /** A publisher who got no answer sends again, with the same id: the router may have both. */
  #isDouble({ from, message_id: id }) {
    const known = JSON.stringify([from, id]);
    if (id === undefined || this.#ids.has(known)) return id !== undefined;
    this.#ids.add(known);
    if (this.#ids.size > REMEMBERED) this.#ids.delete(this.#ids.values().next().value);
    return false;
  }
}

/** A durable reader: the router remembers what it has acked. Its messages are handled one by one, in order. */
class Consumer extends Reader {
  durable = true;
  name = this.frame.group === undefined ? { consumer: this.frame.consumer } : { group: this.frame.group };
  /** Places that wait or are being handled; the router bounds them (`max_in_flight`). */
  #taken = new Set();
  /** @type {Map<string, Message>} Places that were handled, until the router has said that it knows. */
  #handled = new Map();
  /** @type {Message[]} */
  #acks = [];
  #timer;
  #work = Promise.resolve();

  request() {
    return this.frame;
  }

  /** Acks may have been lost with the connection before. */
  begin() {
    this.#acks = [...this.#handled.values()];
    this.flush();
  }

  hold(message) {
    this.take(message);
  }

  take(message) {
    const place = placeOf(message);
    if (this.#handled.has(place)) return this.#ack(message);
    if (this.#taken.has(place)) return;
    this.#taken.add(place);
    this.#work = this.#work.then(() => this.#handle(message, place));
  }

  async #handle(message, place) {
    try {
      await this.handler(message);
      this.#handled.set(place, message);
      this.#ack(message);
    } catch (error) {
      // Without an ack the router delivers it again after `ack_wait_ms`.
      this.weir.report(error, message);
    }
    this.#taken.delete(place);
  }

  #ack(message) {
    this.#acks.push(message);
    this.#timer ??= setTimeout(() => this.flush(), ACK_DELAY);
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const frames = {};
    for (const { log, epoch, offset } of this.#acks.splice(0)) {
      (frames[`${epoch} ${log}`] ??= { ...this.name, log, epoch, offsets: [] }).offsets.push(offset);
    }
    for (const frame of Object.values(frames)) {
      const known = () => frame.offsets.forEach((offset) => this.#handled.delete(placeOf({ ...frame, offset })));
      const failed = (error) => error.outcome !== "unknown" && this.weir.report(error);
      this.weir.ask("ack", frame, "now").then(known, failed);
    }
  }

  /** Stops reading, and the router forgets it. */
  delete() {
    return this.weir.remove(this, { ...this.name, delete: true });
  }
}

const placeOf = ({ log, epoch, offset }) => `${epoch} ${offset} ${log}`;

export class Weir {
  state = "connecting";
  #options;
  #url;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Calls without an answer, by id, in their order. */
  #pending = new Map();
  /** @type {Set<Reader>} */
  #readers = new Set();
  /** @type {Weir | undefined} For patterns that overlap: the router sends a message once to each connection. */
  #other;
  #attempt = 0;
  #count = 0;
  #timer;
  #heard = 0;
  #pinged = 0;
  #name = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(36)).join("");
  #woken = () => this.state !== "refused" && globalThis.document?.visibilityState !== "hidden" && this.reconnect();

  /** @param {string} url `wss://HOST`, or `/` for the page's own host. @param {Partial<typeof DEFAULTS>} [options] */
  constructor(url, options = {}) {
    this.#options = { ...DEFAULTS, ...options };
    if (!this.#options.WebSocket) throw new Error("there is no WebSocket here: give one as the option `WebSocket`");
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    if (this.#url.pathname === "/") this.#url.pathname = "/v1/ws";
    globalThis.addEventListener?.("online", this.#woken);
    globalThis.document?.addEventListener("visibilitychange", this.#woken);
    this.#connect();
  }

  /**
   * Resolves with the answer once the router has it as safely as `level` asks for; rejects with what it said instead.
   * When the connection breaks it is sent again with the same `message_id` (at least once), unless `retry` is false:
   * then it rejects with the outcome `unknown`. @param {Message} message
   */
  publish(message, { retry = true } = {}) {
    const own = retry ? { message_id: `${this.#name}-${++this.#count}` } : {};
    return this.ask("publish", { ...own, ...message }, retry ? "again" : "once");
  }

  /**
   * Calls the handler with every message, in each log's order, over all reconnects. Resolves once it stands.
   * @param {{topic: string, since?: "now"|"start"|Places, retained?: boolean, presence?: boolean}} frame
   * @param {(message: Message) => void} handler @param {ReaderOptions} [options] @returns {Promise<Subscription>}
   */
  subscribe(frame, handler, options = {}) {
    const reader = new Subscription(this, frame, handler, options);
    const overlaps = [...this.#readers].some(({ durable, pattern }) => !durable && meet(pattern, reader.pattern));
    if (!overlaps) return this.#add(reader);
    this.#other ??= new Weir(this.#url.href, { ...this.#options, onState: DEFAULTS.onState });
    return this.#other.subscribe(frame, handler, options);
  }

  /**
   * A durable reader: each message is acked when the handler's promise resolves, and comes again when it rejects.
   * @param {{topic: string, consumer?: string, group?: string} & Record<string, any>} frame
   * @param {(message: Message) => any} handler @param {ReaderOptions} [options] @returns {Promise<Consumer>}
   */
  consume(frame, handler, options = {}) {
    return this.#add(new Consumer(this, frame, handler, options));
  }

  /** Publishes and waits for somebody's reply. @param {Message} message @returns {Promise<Message>} */
  async request(message) {
    return (await this.ask("request", message, "once")).reply;
  }

  /** Answers a message that came with `reply_to`. @param {Message} message @param {Partial<Message>} payload */
  async reply(message, payload) {
    if (!message.reply_to) throw new WeirError({ reason: "nobody waits for a reply: the message has no reply_to" });
    return this.publish({ ...payload, topic: message.reply_to }, { retry: false });
  }

  /** Who is subscribed to exactly this topic. @param {{topic: string}} frame */
  presence(frame) {
    return this.ask("presence", frame, "again");
  }

  /** A page of a storage plugin's answer. @param {{plugin: string, topic: string} & Record<string, any>} frame */
  query(frame) {
    return this.ask("query", frame, "again");
  }

  /**
   * All messages of the logs, page by page. @param {{topic: string, since?: "start"|Places, limit?: number,
   * reverse?: boolean, log?: string}} frame @param {ReaderOptions} [options] @returns {AsyncGenerator<Message>}
   */
  async *history(frame, { onGap = this.#options.onGap } = {}) {
    for (let page = { more: true, next: frame.since }; page.more; ) {
      page = await this.ask("history", page.next === undefined ? frame : { ...frame, since: page.next }, "again");
      if (page.recovered === false) this.guard(() => onGap({ topic: frame.topic, oldest: page.oldest }));
      yield* page.messages;
    }
  }

  /** Connects at once: after a refusal, or instead of waiting. A connection that stands is tested. */
  reconnect() {
    this.#other?.reconnect();
    if (this.state === "open") this.#ping();
    else if (this.state !== "connecting" && this.state !== "closed") this.#connect();
  }

  /** Ends the connection for good. What was sent is still sent. */
  close() {
    this.#other?.close();
    for (const reader of this.#readers) if (reader.state === "live") reader.flush?.();
    globalThis.removeEventListener?.("online", this.#woken);
    globalThis.document?.removeEventListener("visibilitychange", this.#woken);
    this.#stop("closed", "the client was closed");
  }

  /**
   * Sends a frame and waits for its answer. When the connection breaks it is sent "again", or just "once" if it had
   * been sent already; "now" is for this connection only. @param {string} action @param {object} frame
   */
  ask(action, frame, kind) {
    return new Promise((resolve, reject) => {
      checkOwn(frame);
      const done = (answer) => (answer.ok ? resolve(answer) : reject(new WeirError(answer)));
      this.#send(action, frame, kind, done, reject);
    });
  }

  async remove(reader, frame) {
    reader.flush?.();
    if (!this.#readers.delete(reader)) return;
    const gone = (error) => error.outcome !== "unknown" && this.report(error);
    if (frame.delete) await this.ask("unsubscribe", frame, "again");
    else await this.ask("unsubscribe", frame, "now").catch(gone); // With the connection it is gone as well.
  }

  guard(call, message) {
    try {
      call();
    } catch (error) {
      this.report(error, message);
    }
  }

  report(error, message) {
    this.#options.onError(error, message);
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#enter("connecting");
    const address = await this.#address().catch((error) => this.report(error));
    if (this.state !== "connecting" || this.#socket) return;
    if (!address) return this.#wait("there is no key");
    const socket = (this.#socket = new this.#options.WebSocket(address));
    const current = (call) => (event) => socket === this.#socket && call(event);
    const late = current(() => this.#lost(1006, "the handshake took too long"));
    this.#timer = setTimeout(late, this.#options.timeoutMs);
    socket.onopen = current(() => this.#opened());
    socket.onmessage = current(({ data }) => this.#receive(JSON.parse(data)));
    socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
    socket.onerror = () => {}; // The close that follows says what there is to say.
  }

  async #address() {
    const { key, clientId, origin } = this.#options;
    const url = new URL(this.#url);
    const said = { api_key: typeof key === "function" ? await key() : key, client_id: clientId, origin };
    for (const [name, value] of Object.entries(said)) if (value) url.searchParams.set(name, value);
    return url;
  }

  #opened() {
    clearTimeout(this.#timer);
    [this.#heard, this.#pinged] = [Date.now(), 0];
    this.#timer = setInterval(() => this.#beat(), Math.min(this.#options.pingEveryMs, this.#options.timeoutMs) / 2);
    this.#enter("open");
    for (const reader of this.#readers) this.#subscribe(reader);
    for (const call of this.#pending.values()) if (!call.sent) this.#write(call);
  }

  /** A half-open connection looks as a quiet one does, until it is asked. */
  #beat() {
    const now = Date.now();
    if (this.#pinged && now - this.#pinged > this.#options.timeoutMs) this.#lost(1006, "the router fell silent");
    else if (now - this.#heard > this.#options.pingEveryMs) this.#ping();
  }

  #ping() {
    if (!this.#pinged) this.#socket.send('{"action":"ping"}');
    this.#pinged ||= Date.now();
  }

  /** The old socket's own end is not waited for: on a dead network it takes minutes. */
  #drop() {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = null;
    for (const reader of this.#readers) reader.state = "waiting";
  }

  #lost(code, reason) {
    const opened = this.state === "open";
    const blamed = BLAMED.includes(code) && code !== TOO_LARGE;
    this.#drop();
    // Whoever was told off, or never heard a word, waits longer each time.
    if (opened && code !== 1008 && !blamed) this.#attempt = 0;
    const why = reason || `closed with ${code}`;
    // Of the calls on their way the longest is too long, whichever else is.
    const longest = [...this.#pending.values()].reduce((most, call) => (call.sent && call.text.length > (most?.text.length ?? 0) ? call : most), null);
    if (code === TOO_LARGE) this.#fail((call) => call === longest, { outcome: "too-large", reason: why });
    this.#fail(({ kind, sent }) => kind === "now" || (sent && (kind === "once" || blamed)), {
      outcome: "unknown",
      reason: `the connection broke before the answer: ${why}`,
    });
    for (const call of this.#pending.values()) call.sent = false;
    const spent = code === 1008 && /key (revoked|expired)/.test(reason) && typeof this.#options.key !== "function";
    if (spent) return this.#stop("refused", reason);
    this.#wait(why);
    if (!opened) this.#probe();
  }

  /** A browser does not tell why a handshake failed. Plain HTTP does. */
  async #probe() {
    try {
      const url = await this.#address();
      url.protocol = url.protocol.replace("ws", "http");
      url.pathname = url.pathname.replace(/ws$/, "history");
      const { status } = await fetch(url, { signal: AbortSignal.timeout(this.#options.timeoutMs) });
      const refused = (status === 401 || status === 403) && ["waiting", "connecting"].includes(this.state);
      if (refused) this.#stop("refused", `the router answers ${status}: it does not accept this key, or this page`);
    } catch {
      // Nobody is there, or nobody who answers this page: go on trying.
    }
  }

  #wait(reason) {
    const bound = Math.min(this.#options.retryMaxMs, this.#options.retryMinMs * 2 ** this.#attempt++);
    this.#timer = setTimeout(() => this.#connect(), Math.random() * bound);
    this.#enter("waiting", reason);
  }

  /** Ends all that waits. What stands stays, for a `reconnect` with a better key. */
  #stop(state, reason) {
    this.#drop();
    this.#enter(state, reason);
    const answer = { outcome: state === "refused" ? "unauthenticated" : "unknown", reason };
    this.#fail(() => true, answer);
    for (const reader of this.#readers) if (!reader.stands) this.#end(reader, new WeirError(answer));
  }

  #fail(which, answer) {
    for (const [id, call] of [...this.#pending].filter(([, call]) => which(call))) {
      this.#pending.delete(id);
      call.fail(new WeirError(answer));
    }
  }

  #enter(state, detail) {
    this.state = state;
    this.guard(() => this.#options.onState(state, detail));
  }

  #send(action, frame, kind, done, fail) {
    const { maxPending } = this.#options;
    const refuse = (outcome, reason) => fail(new WeirError({ outcome, reason }));
    if (this.state === "refused") return refuse("unauthenticated", "the router has refused this client");
    if (this.state === "closed" || (kind === "now" && this.state !== "open")) return refuse("unknown", "not connected");
    if (kind !== "now" && this.#pending.size >= maxPending) {
      return refuse("overloaded", `${maxPending} calls wait for an answer: the option maxPending allows no more`);
    }
    const id = `${++this.#count}`;
    const call = { text: JSON.stringify({ ...frame, action, id }), kind, sent: false, done, fail };
    this.#pending.set(id, call);
    if (this.state === "open") this.#write(call);
  }

  #write(call) {
    call.sent = true;
    this.#socket.send(call.text);
  }

  #receive(frame) {
    [this.#heard, this.#pinged] = [Date.now(), 0];
    if (frame.event) return this.#event(frame);
    const call = this.#pending.get(frame.id);
    // Then nothing was done: it keeps its place in the order, and waits for the next connection.
    if (!call || (frame.outcome === "shutting-down" && call.kind === "again")) return call && (call.sent = false);
    this.#pending.delete(frame.id);
    call.done(frame);
  }

  /** Whom an event concerns. Of subscriptions it is one at most: none of a connection overlaps with another. */
  #concerned({ event, topic, consumer, group }) {
    const levels = topic?.split("/");
    const durable = consumer !== undefined || group !== undefined;
    const exact = event === "unsubscribed" || event === "caught-up";
    return [...this.#readers].filter((reader) => {
      if (durable || reader.durable) return durable && reader.name.consumer === consumer && reader.name.group === group;
      return exact ? reader.frame.topic === topic : !levels || meet(reader.pattern, levels);
    });
  }

  #event(frame) {
    if (frame.event === "error") return this.report(new WeirError(frame));
    for (const reader of this.#concerned(frame)) {
      if (frame.event === "message" && reader.state === "live") reader.take(frame);
      if (frame.event === "message" && reader.state === "asked") reader.hold(frame);
      if (frame.event === "caught-up") reader.catchUp();
      if (frame.event === "unsubscribed") this.#end(reader, new WeirError(frame));
      if (frame.event === "gap") this.#gap(reader, frame);
      if (frame.event === "join" || frame.event === "leave") this.guard(() => reader.options.onPresence?.(frame));
    }
  }

  #gap({ options }, gap) {
    this.guard(() => (options.onGap ?? this.#options.onGap)(gap));
  }

  #add(reader) {
    return new Promise((resolve, reject) => {
      checkOwn(reader.frame);
      Object.assign(reader, { resolve, reject });
      this.#readers.add(reader);
      if (this.state === "open") this.#subscribe(reader);
      if (this.state === "refused" || this.state === "closed") this.#stop(this.state, `the client is ${this.state}`);
    });
  }

  #subscribe(reader) {
    const frame = reader.request();
    reader.state = "asked";
    const done = (answer) => {
      if (!answer.ok) return this.#unwanted(reader, new WeirError(answer));
      if (answer.recovered === false) this.#gap(reader, { topic: answer.topic, oldest: answer.oldest });
      reader.state = "live";
      reader.begin(answer, frame);
      reader.stands = true;
      reader.resolve(reader);
    };
    this.#send("subscribe", frame, "now", done, () => {});
  }

  #unwanted(reader, error) {
    // The next connection asks again.
    if (error.outcome === "shutting-down") return (reader.state = "waiting");
    if (error.outcome === "invalid" && reader.places) {
      // A log that it was in is gone, perhaps since the page was last open. It begins anew.
      reader.places = null;
      this.#gap(reader, { topic: reader.frame.topic, reason: error.reason });
      return this.#subscribe(reader);
    }
    const final = !reader.stands || error.outcome === "denied" || error.outcome === "invalid";
    if (final) this.#end(reader, error);
    else this.#lost(1008, `a subscription could not be resumed: ${error.message}`);
  }

  #end(reader, error) {
    this.#readers.delete(reader);
    if (reader.stands) this.guard(() => reader.options.onEnd?.(error));
    else reader.reject(error);
  }
}
