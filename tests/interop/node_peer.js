// A TLS peer written with Node's tls module. It prints one line of JSON about the connection, or about its failure.
//
//   node node_peer.js serve   '{"cert": path, "key": path, "ca": path or null, ...}'    prints {"port": n} first
//   node node_peer.js connect '{"port": n, "ca": path, "name": "localhost", ...}'
//
// "version": "TLSv1.2" is for that one in place of 1.3. "times": 3 makes three connections, one after another; a client
// then says each time what came in, and resumes its session.
//
// A server sends back what it receives. A client sends what comes in on its standard input, and writes what it
// receives to its standard output. Reports go to standard error.
"use strict";

const fs = require("node:fs");
const tls = require("node:tls");
const { Readable } = require("node:stream");

const options = JSON.parse(process.argv[3]);
const read = (path) => (path ? fs.readFileSync(path) : undefined);
const say = (what) => fs.writeSync(2, JSON.stringify(what) + "\n");

const common = {
  cert: read(options.cert),
  key: read(options.key),
  ca: read(options.ca),
  ecdhCurve: options.curves || tls.DEFAULT_ECDH_CURVE,
  ciphers: options.ciphers || tls.DEFAULT_CIPHERS,
  sigalgs: options.schemes,
  ALPNProtocols: options.protocols,
  minVersion: options.version || "TLSv1.3",
  maxVersion: options.version || "TLSv1.3",
};

function report(socket) {
  const peer = socket.getPeerCertificate();
  const key = socket.getEphemeralKeyInfo();
  say({
    version: socket.getProtocol(),
    suite: socket.getCipher().standardName,
    group: key ? key.name : undefined,
    protocol: socket.alpnProtocol || null,
    name: socket.servername || null,
    authorized: socket.authorized,
    subject: peer && peer.raw ? peer.raw.toString("hex") : null,
    exported: socket.exportKeyingMaterial(32, "EXPORTER-handclasp-test", Buffer.from("a context")).toString("hex"),
  });
}

function failed(error) {
  say({ error: error.code || "", message: error.message });
  process.exit(1);
}

function serve() {
  const demands = { requestCert: Boolean(options.ca), rejectUnauthorized: Boolean(options.ca) };
  let left = options.times || 1;
  const server = tls.createServer({ ...common, ...demands }, (socket) => {
    report(socket);
    socket.on("error", failed);
    socket.pipe(socket);
    socket.on("close", () => --left || process.exit(0));
  });
  server.on("tlsClientError", failed);
  server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
}

// One connection; `then` gets the session that may be resumed.
function connect(said, session, then) {
  const target = { host: "127.0.0.1", port: options.port, servername: options.name, session };
  const socket = tls.connect({ ...common, ...target }, () => {
    report(socket);
    said.pipe(socket);
  });
  socket.on("error", failed);
  socket.on("session", (kept) => (session = kept));
  socket.on("close", () => then(session));
  socket.pipe(process.stdout, { end: false });
}

async function connectAgainAndAgain() {
  const said = Buffer.concat(await process.stdin.toArray());
  const turn = (left) => (session) => left && connect(Readable.from([said]), session, turn(left - 1));
  turn(options.times)(undefined);
}

if (process.argv[2] === "serve") {
  serve();
} else if (options.times > 1) {
  connectAgainAndAgain();
} else {
  connect(process.stdin, undefined, () => {});
}
