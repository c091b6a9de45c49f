// A client made with the protocol's SDK for TypeScript: `node asked.mjs 1|2 auto|legacy|- URL|COMMAND...`.
// A URL of grpc:// is spoken to by mcp-grpc-transport, with version 1 of the SDK. The last line of its output is JSON.
import assert from "node:assert/strict";

const [version, era, ...target] = process.argv.slice(2);
const about = { name: "asked", version: "1.0.0" };
const capabilities = { sampling: {}, elicitation: {} };
const REPLY = "said by the client";

async function first() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const types = await import("@modelcontextprotocol/sdk/types.js");
  const client = new Client(about, { capabilities });
  client.setRequestHandler(types.CreateMessageRequestSchema, sampled);
  client.setRequestHandler(types.ElicitRequestSchema, elicited);
  const transports = {
    stdio: async () => (await import("@modelcontextprotocol/sdk/client/stdio.js")).StdioClientTransport,
    http: async () => (await import("@modelcontextprotocol/sdk/client/streamableHttp.js")).StreamableHTTPClientTransport,
  };
  const call = (name, given, options) => client.callTool({ name, arguments: given }, undefined, options);
  return { client, call, transports };
}

async function second() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const client = new Client(about, { capabilities, versionNegotiation: { mode: era } });
  client.setRequestHandler("sampling/createMessage", sampled);
  client.setRequestHandler("elicitation/create", elicited);
  const transports = {
    stdio: async () => (await import("@modelcontextprotocol/client/stdio")).StdioClientTransport,
    http: async () => StreamableHTTPClientTransport,
  };
  const call = (name, given, options) => client.callTool({ name, arguments: given }, options);
  return { client, call, transports };
}

async function sampled() {
  return { role: "assistant", model: "none", content: { type: "text", text: REPLY } };
}

async function elicited() {
  return { action: "accept", content: { username: REPLY, email: "a@example.org" } };
}

async function grpc(url) {
  const { createRequire } = await import("node:module");
  const root = createRequire(import.meta.url).resolve("mcp-grpc-transport/package.json");
  const { default: library } = await import("@grpc/grpc-js");
  const { default: loader } = await import("@grpc/proto-loader");
  const { GrpcMcpSessionTransport } = await import("mcp-grpc-transport");
  const definition = loader.loadSync(new URL("proto/mcp/transport/v1/mcp.proto", `file://${root}`).pathname, {
    keepCase: true,
    defaults: true,
  });
  const { Mcp } = library.loadPackageDefinition(definition).mcp.transport.v1;
  const channel = new Mcp(url.slice("grpc://".length), library.credentials.createInsecure());
  // The package has a transport for the serving side alone, which also reads how it was called.
  const stream = Object.assign(channel.session(), {
    metadata: new library.Metadata(),
    getHost: () => "",
    getPath: () => "",
  });
  stream.on("end", () => channel.close());
  return new GrpcMcpSessionTransport(stream);
}

async function connected(transports) {
  if (target[0].startsWith("grpc")) return grpc(target[0]);
  if (target[0].startsWith("http")) return new (await transports.http())(new URL(target[0]));
  const [command, ...args] = target;
  return new (await transports.stdio())({ command, args, stderr: "inherit", env: process.env });
}

const text = (result) => result.content.map((part) => part.text ?? "").join("");
const { client, call, transports } = await (version === "1" ? first() : second());
const transport = await connected(transports);
let spoken;
transport.setProtocolVersion = ((before) => (said) => {
  spoken = said;
  before?.call(transport, said);
})(transport.setProtocolVersion);
await client.connect(transport);
const { tools } = await client.listTools();
const named = (list, name) => list.find((each) => each.name.endsWith(name)).name;
const heard = [];
assert.equal(text(await call(named(tools, "test_simple_text"), {})), "This is a simple text response for testing.");
await call(named(tools, "test_tool_with_progress"), {}, { onprogress: ({ progress }) => heard.push(progress) });
const image = await call(named(tools, "test_image_content"), {});
assert.equal(Buffer.from(image.content[0].data, "base64").toString("latin1", 1, 4), "PNG");
assert.match(text(await call(named(tools, "get_current_time"), { timezone: "Asia/Tokyo" })), /Asia\/Tokyo/);
const chat = (content) => call("chat", { model: "scripted/echo", messages: [{ role: "user", content }] });
const words = Array.from({ length: 16 }, (_, number) => `forty-two and ${number}`);
const said = await Promise.all(words.map(chat));
said.forEach((answer, number) => assert.ok(text(answer).includes(words[number]), text(answer)));
assert.match(text(await call(named(tools, "test_sampling"), { prompt: "Say it." })), new RegExp(REPLY));
assert.match(text(await call(named(tools, "test_elicitation"), { message: "Who is it?" })), new RegExp(REPLY));
const { resources } = await client.listResources();
const { uri } = resources.find((each) => each.uri.includes("static-text"));
assert.match((await client.readResource({ uri })).contents[0].text, /static text resource/);
const { prompts } = await client.listPrompts();
const asked = { name: named(prompts, "test_prompt_with_arguments"), arguments: { arg1: "a", arg2: "b" } };
assert.match((await client.getPrompt(asked)).messages[0].content.text, /arg2='b'/);
const refused = await call("no_such_tool", {}).then(text, (error) => error.message);
assert.match(refused, /no_such_tool/);
assert.deepEqual(heard, [0, 50, 100]); // by now: it may come after the result
await client.close();
const how = `one of a model, ${words.length} times at once, one with ${heard.length} progress messages`;
const called = `7 called (${how}, 2 that asked back)`;
const rest = "a resource read, a prompt rendered, an unknown tool refused";
const protocol = spoken ?? client.getNegotiatedProtocolVersion?.();
console.log(JSON.stringify({ protocol, exercised: `${tools.length} tools listed, ${called}, ${rest}` }));
