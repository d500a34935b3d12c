// A TLS peer written with Node's tls module. It prints one line of JSON about the connection, or about its failure.
//
//   node node_peer.js serve   '{"cert": path, "key": path, "ca": path or null, ...}'    prints {"port": n} first
//   node node_peer.js connect '{"port": n, "ca": path, "name": "localhost", ...}'
//
// A server sends back what it receives. A client sends what comes in on its standard input, and writes what it
// receives to its standard output. Reports go to standard error.
"use strict";

const fs = require("node:fs");
const tls = require("node:tls");

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
  minVersion: "TLSv1.3",
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

if (process.argv[2] === "serve") {
  const demands = { requestCert: Boolean(options.ca), rejectUnauthorized: Boolean(options.ca) };
  const server = tls.createServer({ ...common, ...demands }, (socket) => {
    report(socket);
    socket.on("error", failed);
    socket.pipe(socket);
    socket.on("close", () => process.exit(0));
  });
  server.on("tlsClientError", failed);
  server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
} else {
  const target = { host: "127.0.0.1", port: options.port, servername: options.name };
  const socket = tls.connect({ ...common, ...target }, () => {
    report(socket);
    process.stdin.pipe(socket);
  });
  socket.on("error", failed);
  socket.pipe(process.stdout);
}
