/**
 * A WebSocket for Node before 22, which has none: as much of one as the tests of `weir.js` need. To be imported before it.
 */

import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";

globalThis.WebSocket ??= class {
  #socket;
  #read = Buffer.alloc(0);
  #closed = false;

  constructor(url) {
    const key = randomBytes(16).toString("base64");
    const headers = { connection: "upgrade", upgrade: "websocket", "sec-websocket-key": key, "sec-websocket-version": "13" };
    const target = new URL(url);
    target.protocol = "http:";
    this.asked = request(target, { headers, agent: false });
    this.asked.on("error", () => this.#end(1006, ""));
    this.asked.on("response", (response) => (response.resume(), this.#end(1006, "")));
    this.asked.on("upgrade", (response, socket, early) => {
      const proof = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      if (response.headers["sec-websocket-accept"] !== proof || this.#closed) return socket.destroy();
      this.#socket = socket;
      socket.on("data", (data) => this.#receive(data)).on("close", () => this.#end(1006, "")).on("error", () => {});
      this.onopen?.({});
      this.#receive(early);
    });
    this.asked.end();
  }

  send(text) {
    this.#write(1, Buffer.from(text));
  }

  close(code = 1000) {
    this.#closed = true;
    if (!this.#socket) return this.asked.destroy();
    this.#write(8, Buffer.from([code >> 8, code & 255]));
    this.#socket.end();
  }

  #write(opcode, data) {
    const long = data.length > 65_535 ? 10 : data.length > 125 ? 4 : 2;
    const head = Buffer.alloc(long + 4);
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (long === 2 ? data.length : long === 4 ? 126 : 127);
    if (long === 4) head.writeUInt16BE(data.length, 2);
    if (long === 10) head.writeBigUInt64BE(BigInt(data.length), 2);
    // The mask is zero: it protects proxies, of which there are none here.
    this.#socket.write(Buffer.concat([head, data]));
  }

  #receive(data) {
    this.#read = Buffer.concat([this.#read, data]);
    while (this.#read.length >= 2) {
      const short = this.#read[1] & 127;
      const start = { 126: 4, 127: 10 }[short] ?? 2;
      if (this.#read.length < start) return;
      const size = start === 2 ? short : start === 4 ? this.#read.readUInt16BE(2) : Number(this.#read.readBigUInt64BE(2));
      if (this.#read.length < start + size) return;
      const payload = this.#read.subarray(start, start + size);
      const opcode = this.#read[0] & 15;
      this.#read = this.#read.subarray(start + size);
      if (opcode === 1) this.onmessage?.({ data: payload.toString() });
      if (opcode === 9) this.#write(10, payload);
      if (opcode === 8) this.#end(payload.length ? payload.readUInt16BE() : 1005, payload.subarray(2).toString());
    }
  }

  #end(code, reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket?.end();
    this.onclose?.({ code, reason });
  }
};
