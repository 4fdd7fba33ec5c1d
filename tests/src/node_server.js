// Sends what only Node's http module sends: early hints, 102, trailers, a WebSocket
// upgrade, a CONNECT tunnel. Listens on argv[2] (address) and argv[3] (port).
const http = require("http");
const crypto = require("crypto");

const server = http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    const path = request.url.split("?")[0];
    if (path === "/hints") {
      response.writeEarlyHints({ link: ["</a.css>; rel=preload; as=style", "</b.js>; rel=preload"] });
      response.end("hinted");
    } else if (path === "/processing") {
      response.writeProcessing();
      response.writeEarlyHints({ link: "</c.css>; rel=preload" });
      response.statusCode = 503;
      response.end("busy");
    } else if (path === "/trailers") {
      response.writeHead(200, { Trailer: "Server-Timing, X-Digest" });
      response.write("one ");
      response.write("two ");
      response.addTrailers({ "Server-Timing": "total;dur=3", "X-Digest": "00" });
      response.end("three");
    } else if (path === "/cookies") {
      response.setHeader("Set-Cookie", ["a=1", "b=2; Path=/"]);
      response.writeHead(418, "I'm a teapot");
      response.end();
    } else if (path === "/abort") {
      response.writeHead(200, { "Content-Length": 1000 });
      response.write("only this", () => request.socket.resetAndDestroy());
    } else {
      response.end(`${request.method} ${request.url}`);
    }
  });
});
server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = crypto.createHash("sha1").update(key).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  // A text frame whose text is a response.
  const text = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  socket.end(Buffer.concat([Buffer.from([0x81, text.length]), text]));
});
server.on("connect", (request, socket) => {
  socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
  socket.on("data", () => socket.end("HTTP/1.1 500 inside the tunnel\r\n\r\n"));
});
server.listen(Number(process.argv[3]), process.argv[2], () => console.log("listening"));
