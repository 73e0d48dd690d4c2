// Runs the official JavaScript client against each base URL that comes in as a line of JSON, and prints the outcomes.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.env.OPENAI_FOLDER, "x.js"));
const OpenAI = require("openai");
const MODEL = "parrot";

const result = (response) => ({
  text: response.output_text,
  calls: response.output.filter((item) => item.type === "function_call").map((item) => [item.name, item.arguments]),
  status: response.status,
});

const uses = {
  "openai-node responses.create": async (client, { text }) => result(await client.responses.create({ model: MODEL, input: text })),
  "openai-node responses.create, tool": async (client, { text, tool }) => {
    const body = { model: MODEL, input: text, tools: [tool], tool_choice: "required" };
    const response = await client.responses.create(body);
    const call = response.output.find((item) => item.type === "function_call");
    return { calls: call ? [[call.name, JSON.parse(call.arguments)]] : [] };
  },
  "openai-node responses.create, stream": async (client, { text }) => {
    const found = { text: "", items: [], final: null };
    for await (const event of await client.responses.create({ model: MODEL, input: text, stream: true })) {
      if (event.type === "response.output_text.delta") found.text += event.delta;
      else if (event.type === "response.output_item.done") found.items.push(event.item.type);
      else if (["response.completed", "response.incomplete", "response.failed"].includes(event.type))
        found.final = event.response.output.map((item) => item.type);
    }
    return found;
  },
  "openai-node responses.stream": async (client, { text }) => {
    const stream = client.responses.stream({ model: MODEL, input: text });
    let streamed = "";
    stream.on("response.output_text.delta", (event) => (streamed += event.delta));
    return { ...result(await stream.finalResponse()), streamed };
  },
  "openai-node responses.stream, tool": async (client, { text, tool }) =>
    result(await client.responses.stream({ model: MODEL, input: text, tools: [tool], tool_choice: "required" }).finalResponse()),
};

const late = (limit) => new Promise((_, reject) => setTimeout(() => reject({ late: true }), limit).unref());

async function outcome(use, line) {
  const client = new OpenAI({ baseURL: line.url, apiKey: "x", timeout: line.limit, maxRetries: 0 });
  try {
    return { ok: await Promise.race([use(client, line), late(line.limit)]) };
  } catch (error) {
    if (error?.late || /timeout/i.test(error?.constructor?.name ?? "")) return { error: "waits forever" };
    return { error: error?.constructor?.name ?? "Error" };
  }
}

process.on("unhandledRejection", () => {});
console.log(JSON.stringify({ version: require("openai/version").VERSION }));
for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  const found = {};
  for (const [name, use] of Object.entries(uses)) found[name] = await outcome(use, line);
  console.log(JSON.stringify(found));
}
process.exit(0);
