// A server made with the protocol's SDK for TypeScript: `node served.mjs stdio|http|json|grpc [PORT]`.
// Standard streams and HTTP are served with its version 2, in both eras. With its version 1 are served HTTP without
// sessions, whose answers are JSON, and gRPC by mcp-grpc-transport.
import { createServer } from "node:http";
import * as z from "zod";

const [wire, port] = process.argv.slice(2);
const text = (words) => ({ content: [{ type: "text", text: words }] });

// The process serves one client, with as many servers as its wire wants.
let cancelled = 0;
let more = 0;
let changed = () => {};

// What versions 1 and 2 of the SDK tell a tool of its call.
const called = (ctx) => ctx.mcpReq ?? { _meta: ctx._meta, notify: ctx.sendNotification, signal: ctx.signal };

function fill(server, fixed, templates) {
  const shape = fixed ? (fields) => fields : (fields) => z.object(fields);
  server.registerTool(
    "add",
    {
      description: "Add two numbers",
      inputSchema: shape({ a: z.number(), b: z.number() }),
      outputSchema: shape({ result: z.number() }),
    },
    async ({ a, b }) => ({ ...text(String(a + b)), structuredContent: { result: a + b } }),
  );
  server.registerTool("fail", { description: "Always fail" }, async () => {
    throw new Error("it failed as it should");
  });
  server.registerTool(
    "count",
    { description: "Count, and say how far it has come", inputSchema: shape({ to: z.number() }) },
    async ({ to }, ctx) => {
      const request = called(ctx);
      const progressToken = request._meta?.progressToken;
      for (let progress = 1; progressToken !== undefined && progress <= to; progress++) {
        await request.notify({ method: "notifications/progress", params: { progressToken, progress, total: to } });
      }
      return text(`counted to ${to}`);
    },
  );
  server.registerTool("wait", { description: "Say that it has begun, and wait to be cancelled" }, async (ctx) => {
    const request = called(ctx);
    const progressToken = request._meta?.progressToken;
    await request.notify({ method: "notifications/progress", params: { progressToken, progress: 1, total: 2 } });
    await new Promise((done) => request.signal.addEventListener("abort", done));
    cancelled += 1;
    return text("cancelled");
  });
  const counting = { description: "How many calls of wait were cancelled" };
  server.registerTool("cancelled", counting, async () => text(String(cancelled)));
  const grow = (number) =>
    server.registerTool(`grown_${number}`, { description: "It grew" }, async () => text("it grew"));
  server.registerTool("grow", { description: "Offer a tool more, and say so to the client" }, async () => {
    grow(++more);
    changed();
    return text("there is more");
  });
  for (let number = 1; number <= more; number++) grow(number);
  const metadata = { description: "A note", mimeType: "text/plain" };
  server.registerResource("one", "note://one", metadata, async (uri) => ({
    contents: [{ uri: uri.href, text: "the first note" }],
  }));
  if (templates) {
    server.registerResource("by", new templates("note://by/{name}", { list: undefined }), metadata, async (uri, { name }) => ({
      contents: [{ uri: uri.href, text: `a note by ${name}` }],
    }));
  }
  const greet = { description: "Greet somebody", argsSchema: shape({ name: z.string() }) };
  server.registerPrompt("greet", greet, ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Greet ${name}.` } }],
  }));
  return server;
}

// What the server asks its client, in the way of its era.
function ask(server, sdk, era) {
  const question = {
    message: "What is your name?",
    requestedSchema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  };
  const said = { messages: [{ role: "user", content: { type: "text", text: "forty-two" } }], maxTokens: 100 };
  const modern = era === "modern";
  server.registerTool("ask_person", { description: "Ask a person for a name" }, async (ctx) => {
    if (!modern) return text("Hello, " + (await server.server.elicitInput(question)).content.name);
    const found = sdk.acceptedContent(ctx.mcpReq.inputResponses, "answer");
    if (found) return text("Hello, " + found.name);
    return sdk.inputRequired({ inputRequests: { answer: sdk.inputRequired.elicit(question) } });
  });
  server.registerTool("ask_model", { description: "Ask the client's model" }, async (ctx) => {
    if (!modern) return text("It said " + (await server.server.createMessage(said)).content.text);
    const found = ctx.mcpReq.inputResponses?.answer;
    if (found) return text("It said " + found.content.text);
    return sdk.inputRequired({ inputRequests: { answer: sdk.inputRequired.createMessage(said) } });
  });
  return server;
}

const local = (port) => [Number(port), "127.0.0.1"];
const about = { name: "served", version: "1.0.0" };
if (wire === "json") {
  const { McpServer, ResourceTemplate } = await import("@modelcontextprotocol/sdk/server/mcp.js");
  const { StreamableHTTPServerTransport } = await import("@modelcontextprotocol/sdk/server/streamableHttp.js");
  createServer(async (request, response) => {
    const options = { sessionIdGenerator: undefined, enableJsonResponse: true };
    const transport = new StreamableHTTPServerTransport(options);
    await ask(fill(new McpServer(about), true, ResourceTemplate), null, "legacy").connect(transport);
    await transport.handleRequest(request, response);
  }).listen(...local(port));
} else if (wire === "grpc") {
  const { McpServer, ResourceTemplate } = await import("@modelcontextprotocol/sdk/server/mcp.js");
  const { maybeStartGrpcMcpServer } = await import("mcp-grpc-transport");
  Object.assign(process.env, { ENABLE_GRPC: "1", GRPC_BIND: "127.0.0.1", GRPC_PORT: port });
  const createMcpServer = () => ask(fill(new McpServer(about), true, ResourceTemplate), null, "legacy");
  await maybeStartGrpcMcpServer({ createMcpServer });
} else {
  const sdk = await import("@modelcontextprotocol/server");
  const make = (ctx) => ask(fill(new sdk.McpServer(about), false, sdk.ResourceTemplate), sdk, ctx.era);
  if (wire === "stdio") {
    const { serveStdio } = await import("@modelcontextprotocol/server/stdio");
    serveStdio(make);
  } else {
    const { toNodeHandler } = await import("@modelcontextprotocol/node");
    const handler = sdk.createMcpHandler(make);
    changed = () => handler.notify.toolsChanged();
    createServer(toNodeHandler(handler)).listen(...local(port));
  }
}
